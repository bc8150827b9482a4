"""Parameters and multiply-adds of each part of a configured OPSNet, and the values in the paper.

Usage: python -m scripts.benchmarks.model_card backbone=swin_l [--size 640] [--json]

Multiply-adds are those of a forward pass in training, with masks after every decoder layer, as in the published
values. Nothing is computed and no weights are loaded: the networks are built on PyTorch's meta device. Multiply-adds
are half the FLOPs of ``torch.utils.flop_counter``, which counts convolutions, matrix products and attention, but not
the bilinear samples of the deformable attention. With backbone=clip, CLIP's trunk is the backbone too and counts once.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from opsnet.clip.frozen_clip import FrozenClip
from opsnet.clip.pooling import AdapterPooling, AttentionPooling, ProjectAfterPooling
from opsnet.clip.trunks import ConvNeXtTrunk
from opsnet.structures import compute_mask_logits
from opsnet.utils.errors import exit_on_user_error
from scripts.benchmarks.untrained import untrained_config

PAPER = (
    "The paper (Swin-L, 640): Mask2Former 215M parameters and 403 G, OPSNet 242M and 485 G. Its 242M fit the Spatial "
    "Adapter's two projections merged into one. Its 485 G do not fit a CLIP input of 640: 82 G above Mask2Former's "
    "are what CLIP's trunk takes at 864."
)

POOLINGS: dict[type, str] = {
    AdapterPooling: "Spatial Adapter, frozen",
    AttentionPooling: "CLIP's attention pool, frozen; once per proposal, not counted",
    ProjectAfterPooling: "CLIP's projection, frozen; once per proposal, not counted",
}


@dataclass(frozen=True)
class Part:
    """One part of the network: millions of parameters, and 1e9 multiply-adds per image."""

    name: str
    parameters: float
    gmacs: float


def model_card(overrides: Sequence[str], *, size: int = 640) -> list[Part]:
    """The parts of the configured network, and the sums "Mask2Former" and "OPSNet".

    Args:
        overrides: overrides of conf/train.yaml, e.g. ``backbone=swin_l``, for the full-size networks with CLIP RN50.
        size: side length of the image in pixels.
    """
    model = _meta_model(overrides)
    _with_every_mask(model.query_decoder)
    counter = FlopCounterMode(display=False)
    with torch.device("meta"), torch.no_grad(), counter:
        model(torch.zeros(1, 3, size, size))
    counts = counter.get_flop_counts()

    def part(name: str, *modules: str, without: Sequence[str] = ()) -> Part:
        def total(of: Sequence[str]) -> tuple[float, float]:
            found = [model.get_submodule(m) for m in of]
            return sum(map(_numbers, found)), sum(sum(counts.get(f"OPSNet.{m}", {}).values()) / 2 for m in of)

        (parameters, macs), (less_parameters, less_macs) = total(modules), total(without)
        return Part(name, (parameters - less_parameters) / 1e6, (macs - less_macs) / 1e9)

    heads = ("embed_head", "iou_head", "clip_attention")
    ours = [f"query_decoder.{name}" for name in heads if getattr(model.query_decoder, name) is not None]
    mask2former = [
        part("backbone", "backbone"),
        part("pixel decoder", "pixel_decoder"),
        part("query decoder", "query_decoder", without=ours),
    ]
    added = [
        part("embedding head, IoU head, cross-attention to CLIP", *ours),
        part("CLIP's trunk, frozen", *(f"clip.image_encoder.visual.{name}" for name in _trunk(model.clip))),
        part(POOLINGS[type(model.clip.image_encoder.pooling)], "clip.image_encoder.pooling"),
    ]
    return [*mask2former, _sum("Mask2Former", mask2former), *added, _sum("OPSNet", mask2former + added)]


def _trunk(clip: FrozenClip) -> list[str]:
    """Names of the modules of CLIP's image tower that are called for a map, without the pool at its end."""
    visual: Any = clip.image_encoder.visual
    if isinstance(clip.image_encoder.trunk, ConvNeXtTrunk):
        return ["trunk.stem", *(f"trunk.stages.{i}" for i in range(len(visual.trunk.stages)))]
    return [name for name, _ in visual.named_children() if name != "attnpool"]


def _meta_model(overrides: Sequence[str]) -> Any:
    from hydra.utils import instantiate

    cfg = untrained_config(["++clip.model.architecture.device=meta", *overrides])
    with torch.device("meta"):
        return instantiate(cfg.model, backbone=cfg.backbone, clip=cfg.clip).eval().requires_grad_(False)


def _with_every_mask(decoder: Any) -> None:
    """Makes the decoder compute full masks after every layer, as in the published counts; ours needs only the last."""
    forward = decoder.train().forward

    def published(*inputs: Any, **options: Any) -> Any:
        proposals = forward(*inputs, **options)
        for layer in proposals.supervision.layers[:-1]:
            compute_mask_logits(layer.mask_embeds, proposals.supervision.pixels)
        return proposals

    decoder.forward = published


def _numbers(module: nn.Module) -> int:
    """Number of learned values of a module; the Spatial Adapter stores its weights as buffers."""
    own = sum(p.numel() for p in module.parameters())
    return own or sum(b.numel() for b in module.buffers())


def _sum(name: str, parts: Sequence[Part]) -> Part:
    return Part(name, sum(p.parameters for p in parts), sum(p.gmacs for p in parts))


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the card as a table, or as json with ``--json``."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument(
        "overrides", nargs="*", metavar="KEY=VALUE", help="override of conf/train.yaml, e.g. backbone=swin_l"
    )
    parser.add_argument("--size", type=int, default=640, help="side length of the image in pixels")
    parser.add_argument("--json", action="store_true", help="print json instead of a table")
    options = parser.parse_args(arguments)
    with exit_on_user_error():
        card = model_card(options.overrides, size=options.size)
    if options.json:
        print(json.dumps([asdict(part) for part in card], indent=2))
        return
    table = Table("part", "parameters (M)", "multiply-adds (G)", title=f"One image of {options.size} x {options.size}")
    for part in card:
        table.add_row(part.name, f"{part.parameters:.2f}", f"{part.gmacs:.1f}")
    console = Console()
    console.print(table)
    console.print(PAPER, soft_wrap=True)


if __name__ == "__main__":
    main()
