"""Forward passes: OPSNet against transformers' Mask2Former, FC-CLIP against a plain implementation; random weights."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from scripts.benchmarks import fcclip
from scripts.benchmarks.pair import Pair
from scripts.benchmarks.untrained import untrained_config
from scripts.gpu_check.measure import PRECISIONS, Precision, Setup, autocast, exact_products, gib, median_ms, peak_gib
from scripts.gpu_check.report import Table

MASKS_BOUND = 1e-2
"""Largest part of mask pixels whose sign may differ in fp32; in a random network many logits are close to 0."""

SMALL = [
    "backbone=r50", "+backbone.model_args={layers: [1, 1, 1, 1], channels: [4, 8, 16, 32]}", "clip=tiny",
    "+model.pixel_decoder.layers=1", "+model.pixel_decoder.hidden=32", "+model.query_decoder.layers=3",
    "+model.query_decoder.hidden=32", "model.query_decoder.queries=7", "clip.model.weights=random",
]  # fmt: skip
"""Overrides of ``experiment=opsnet_r50`` for a network that runs anywhere."""

_SMALL_PEER = {
    "encoder_layers": 1, "decoder_layers": 4, "encoder_feedforward_dim": 32, "dim_feedforward": 32,
    "train_num_points": 64,
}  # fmt: skip
_SWIN_L: dict[str, Any] = {
    "embed_dim": 192, "depths": [2, 2, 18, 2], "num_heads": [6, 12, 24, 48], "window_size": 12, "drop_path_rate": 0.0,
}  # fmt: skip


def check_forward(setup: Setup) -> list[Table]:
    """OPSNet with ResNet-50 and Swin-L."""
    columns = (
        "network", "image", "precision", "Mask2Former (ms)", "OPSNet without CLIP's image encoder (ms)",
        "times as fast", "OPSNet (ms)", "equal mask signs", "peak of Mask2Former (GiB)", "peak of OPSNet (GiB)",
    )  # fmt: skip
    table = Table("Forward pass, one image: OPSNet and transformers' Mask2Former", columns)
    table.notes.append(
        "Random weights, the same on both sides. Without CLIP's image encoder, OPSNet does Mask2Former's work and also "
        "attends to CLIP's map, embeds and predicts IoU. Mask signs are compared with Mask2Former's in fp32. Peaks "
        "are a network's weights and what its forward pass allocates at most."
    )
    for name in ("small",) if setup.quick else ("R50", "Swin-L"):
        try:
            model, peer = _networks(name)
        except Exception as error:
            table.failures.append(f"{name}: {type(error).__name__}: {error}")
            continue
        model.to(setup.device), peer.to(setup.device)
        for size in ((64, 96),) if setup.quick else ((640, 640), (800, 1333)):
            for precision in PRECISIONS:
                names = (name, f"{size[0]} x {size[1]}", precision[0])
                table.measure(names, partial(_row, model, peer, size, precision, setup))
    return [table]


def _networks(name: str) -> tuple[Any, Any]:
    """OPSNet and Mask2Former with the same random weights, on the CPU."""
    from hydra.utils import instantiate

    overrides = {"small": ["experiment=opsnet_r50", *SMALL], "R50": ["experiment=opsnet_r50"]}
    cfg = untrained_config([*overrides.get(name, ["experiment=opsnet_swin_l"]), "clip.model.weights=random"])
    torch.manual_seed(0)
    model = instantiate(cfg.model, backbone=cfg.backbone, clip=cfg.clip).eval()
    peer = random_peer(name, model.query_decoder.query_features.num_embeddings)
    copy_weights(model, peer)
    return model, peer


def random_peer(name: str, queries: int) -> Any:
    """transformers' Mask2Former with ResNet-50 ("R50"), Swin-L or a "small" ResNet."""
    from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation, ResNetConfig, SwinConfig

    stages: Any = [f"stage{i}" for i in (1, 2, 3, 4)]
    sizes: dict[str, Any] = {"num_labels": 133, "num_queries": queries}
    if name == "Swin-L":
        backbone: Any = SwinConfig(out_features=stages, **_SWIN_L)
    elif name == "R50":
        backbone = ResNetConfig(out_features=stages)
    else:
        small = {"embedding_size": 64, "hidden_sizes": [16, 32, 64, 128], "depths": [1, 1, 1, 1]}
        backbone, sizes = ResNetConfig(out_features=stages, **small), {**sizes, **_SMALL_PEER}
    return Mask2FormerForUniversalSegmentation(Mask2FormerConfig(backbone_config=backbone, **sizes)).eval()


def copy_weights(model: Any, peer: Any) -> None:
    """Gives ``model`` the weights of ``peer`` that both have.

    Raises:
        ValueError: the peer has weights that the model does not have.
    """
    from opsnet.segmenter.published.layouts import CLASS_HEAD, convert

    state = {k: v for k, v in convert(peer.state_dict()).state.items() if not k.startswith(CLASS_HEAD)}
    if unknown := model.load_state_dict(state, strict=False).unexpected_keys:
        raise ValueError(f"transformers' Mask2Former has weights that OPSNet does not have: {unknown[:3]}")


def _row(model: Any, peer: Any, size: tuple[int, int], precision: Precision, setup: Setup) -> list[str]:
    height, width = (-(-side // 32) * 32 for side in size)  # both get the padded image
    images = torch.rand(1, 3, height, width, device=setup.device)
    runs = {"peer": (peer, partial(_peer_masks, peer, model)), "ours": (model, partial(_masks, model))}
    peaks = {
        key: peak_gib(partial(_forward, run, images, precision, setup), setup.device, network)
        for key, (network, run) in runs.items()
    }
    with torch.no_grad(), exact_products():
        exact = _peer_masks(peer, model, images) >= 0
        ours = _forward(partial(_masks, model), images, precision, setup) >= 0
    equal = float((exact == ours).float().mean())
    with torch.no_grad():
        clip_map = model.clip.image_encoder(images.contiguous(memory_format=torch.channels_last))
    sides: dict[str, Callable[[Tensor], Tensor]] = {
        "peer": partial(_peer_masks, peer, model),
        "propose": lambda images: model.propose(images, clip_map).mask_logits,
        "ours": partial(_masks, model),
    }
    times = median_ms({k: partial(_forward, run, images, precision, setup) for k, run in sides.items()}, setup)
    if precision[0] == "fp32" and equal < 1 - MASKS_BOUND:
        raise ArithmeticError(f"only {equal:.2%} of the mask signs are those of Mask2Former")
    return [
        f"{times['peer']:.1f}", f"{times['propose']:.1f}", f"{times['peer'] / times['propose']:.2f}",
        f"{times['ours']:.1f}", f"{equal:.3%}", gib(peaks["peer"]), gib(peaks["ours"]),
    ]  # fmt: skip


@torch.no_grad()
def _forward(run: Callable[[Tensor], Tensor], images: Tensor, precision: Precision, setup: Setup) -> Tensor:
    with autocast(setup.device, precision[1]):
        return run(images)


def _masks(model: Any, images: Tensor) -> Tensor:
    masks: Tensor = model(images)[0].mask_logits
    return masks


def _peer_masks(peer: Any, model: Any, images: Tensor) -> Tensor:
    mean, std = model.backbone.mean.to(images), model.backbone.std.to(images)
    masks: Tensor = peer((images - mean) / std).masks_queries_logits
    return masks


def check_fcclip(setup: Setup) -> list[Table]:
    """FC-CLIP with ConvNeXt-L and ResNet-50."""
    columns = (
        "CLIP", "image", "precision", "plain (ms)", "ours (ms)", "times as fast", "equal mask signs",
        "equal best names",
    )  # fmt: skip
    table = Table("Forward pass, one image: FC-CLIP and a plain implementation", columns)
    table.notes.append(
        "The same random weights, 250 queries, 150 names; the plain side is described in "
        "scripts/benchmarks/fcclip_peer.py. Signs and names are compared with the plain side's in fp32."
    )
    side = 64 if setup.quick else 640
    for clip in ("rn50",) if setup.quick else ("convnext_large_d_320", "rn50"):
        try:
            overrides = ["model.query_decoder.queries=10"] if setup.quick else []
            sides = fcclip.build(clip, overrides, setup.device)
        except Exception as error:
            table.failures.append(f"{clip}: {type(error).__name__}: {error}")
            continue
        images = torch.rand(1, 3, side, side, device=setup.device)
        for precision in PRECISIONS:
            row = partial(_fcclip_row, sides, images, precision, setup)
            table.measure((clip, f"{side} x {side}", precision[0]), row)
    return [table]


def _fcclip_row(sides: fcclip.Sides, images: Tensor, precision: Precision, setup: Setup) -> list[str]:
    def run(side: Callable[[Tensor], fcclip.Result]) -> fcclip.Result:
        with autocast(setup.device, precision[1]):
            return side(images)

    with exact_products():
        same = fcclip.agreement(run(sides.ours), sides.plain(images))
    pair = Pair(lambda: run(sides.ours), lambda: run(sides.plain), "")
    times = median_ms({"plain": pair.peer, "ours": pair.ours}, setup)
    if precision[0] == "fp32" and same["signs"] < 1 - MASKS_BOUND:
        raise ArithmeticError(f"only {same['signs']:.2%} of the mask signs are those of the plain implementation")
    return [
        f"{times['plain']:.1f}", f"{times['ours']:.1f}", f"{times['plain'] / times['ours']:.2f}",
        f"{same['signs']:.3%}", f"{same['names']:.1%}",
    ]  # fmt: skip
