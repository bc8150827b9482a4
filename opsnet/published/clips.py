"""The CLIP of a published model: by its name, by the sizes in a file, or by a description of its architecture."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from torch import Tensor, nn

from opsnet.checkpoint.allowed_targets import IN_FOLDER
from opsnet.checkpoint.stored_config import locate
from opsnet.checkpoint.weight_budget import Budget, weights_within
from opsnet.clip.loading import ClipWeightsError
from opsnet.segmenter.published.layouts import CLIP
from opsnet.segmenter.published.weight_files import WeightsError
from opsnet.utils.configuration import option, options

_NOT_WEIGHTS = ("num_batches_tracked", "attn_mask")  # ends of names
# The channels of the coarsest map and D -> an option of conf/clip.
_BY_SIZE = {
    (1536, 768): "convnext_large_d_320",
    (1024, 640): "convnext_base_w_320",
    (2048, 1024): "rn50",
    (2048, 512): "rn101",
    (2560, 640): "rn50x4",
    (3072, 768): "rn50x16",
    (4096, 1024): "rn50x64",
}


def clip_config(
    clip: str | Path | None, state: Mapping[str, Tensor], *, is_open: bool, weights: str | Path | None
) -> dict[str, Any]:
    """The group ``clip`` of a published network, in the form in which checkpoints store it.

    Args:
        clip: an option of conf/clip such as "rn50"; or the path of an ``open_clip_config.json``; ``None``: the one that
            fits the sizes (FC-CLIP), or ``rn50`` (Mask2Former).
        state: weights of the network by their names in this project, CLIP's after ``clip.`` if the file has them.
        is_open: whether the network has FC-CLIP's heads, trained with ViLD's templates and its pooling.
        weights: path of CLIP's weights, if given.

    Raises:
        ClipWeightsError, WeightsError: the CLIP is unknown, or the file's sizes are those of no published one.
    """
    if clip is None:
        clip = fitting_clip(state) if is_open else "rn50"
    path = Path(clip).expanduser()
    found = _described(path) if path.suffix == ".json" else _named(str(clip))
    own: dict[str, Any] = {"text_cache": True}
    if is_open:
        own |= {"templates": "vild14", "pooling": "project_after" if _is_convnext(found) else "attention"}
    if weights is not None:
        found["model"]["weights"] = str(Path(weights).expanduser().resolve())
        found["model"]["architecture"].pop("pretrained", None)
    elif has_clip(state):
        found["model"]["weights"] = IN_FOLDER
        found["model"]["architecture"].pop("pretrained", None)
    elif "${" in str(found["model"]["weights"]):  # a file of this project's own, whose folder only a command knows
        raise ClipWeightsError(
            f"the CLIP {clip} cannot be downloaded: give clip_weights=PATH of its weights, by opsnet-train-clip"
        )
    return {**found, **own}


def has_clip(state: Mapping[str, Tensor]) -> bool:
    """Whether the weights include a CLIP."""
    return any(name.startswith(CLIP) for name in state)


def clip_inside(config: Mapping[str, Any], state: Mapping[str, Tensor], path: object) -> nn.Module:
    """The open_clip model whose weights are in the file of the network, frozen.

    Args:
        config: of :func:`clip_config`.
        state: see :func:`clip_config`.
        path: the file, for messages.

    Raises:
        WeightsError: the weights do not fit.
    """
    node = dict(config["model"]["architecture"])
    build = locate(node.pop("_target_"))
    node.pop("_partial_", None)
    with weights_within(Budget.of(state), f"weights {path}"):
        model: nn.Module = build(**node)
    weights = {name.removeprefix(CLIP): tensor for name, tensor in state.items() if name.startswith(CLIP)}
    own = model.state_dict()
    wrong = sorted(own.keys() ^ weights.keys())
    wrong += sorted(name for name in own.keys() & weights.keys() if own[name].shape != weights[name].shape)
    wrong = [name for name in wrong if not name.endswith(_NOT_WEIGHTS)]
    if wrong:
        raise WeightsError(
            f"the CLIP in weights {path} is another one ({len(wrong)} tensors differ, e.g. '{wrong[0]}'): give "
            "clip=NAME, or clip=FILE, an open_clip_config.json, of its own (in commands: clip_model)"
        )
    model.load_state_dict(weights, strict=False)
    return model.eval().requires_grad_(False)


def clip_differences(clip: nn.Module, state: Mapping[str, Tensor]) -> str:
    """How the CLIP of a network differs from the one in published weights, in words; empty if it does not.

    Args:
        clip: the open_clip model.
        state: weights by their names in this project; without a CLIP among them nothing differs. Rounding to their
            precision is no difference.
    """
    own, given = clip.state_dict(), {n.removeprefix(CLIP): t for n, t in state.items() if n.startswith(CLIP)}
    wrong = [n for n, t in given.items() if not n.endswith(_NOT_WEIGHTS) and not _is_same(own.get(n), t)]
    if not wrong:
        return ""
    return f"another CLIP than the one given ({len(wrong)} of {len(given)} tensors differ, e.g. '{wrong[0]}')"


def _is_same(own: Tensor | None, given: Tensor) -> bool:
    return own is not None and own.shape == given.shape and torch.equal(own.cpu().to(given.dtype), given)


def fitting_clip(state: Mapping[str, Tensor]) -> str:
    """The option of conf/clip whose sizes a network of FC-CLIP has.

    Raises:
        WeightsError: they are those of no published one.
    """
    size = (state["pixel_decoder.input_projections.0.0.weight"].shape[1], len(state["no_object_embed"]))
    if size not in _BY_SIZE:
        raise WeightsError(
            f"its CLIP has {size[0]} channels and D = {size[1]}, as no published one: give clip=FILE (commands: "
            "clip_model=FILE), its open_clip_config.json"
        )
    return _BY_SIZE[size]


def _named(name: str) -> dict[str, Any]:
    if name not in options("clip"):
        raise ClipWeightsError(
            f"no CLIP '{name}': give one of {', '.join(options('clip'))}, or the path of an open_clip_config.json"
        )
    content: Any = OmegaConf.to_container(option("clip", name), resolve=False)
    content.pop("text_cache", None)
    return dict(content)


def _described(path: Path) -> dict[str, Any]:
    """The group ``clip`` for the architecture in an ``open_clip_config.json``, with or without its wrapper."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        config = content.get("model_cfg", content)
        length = int(config["text_cfg"]["context_length"])
        config["vision_cfg"].keys()
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ClipWeightsError(f"{path} is not the configuration of an open_clip model ({error!r})") from error
    architecture = {"_target_": "opsnet.clip.loading.custom_clip", "_partial_": True, "config": config}
    return {
        "_target_": "opsnet.clip.frozen_clip.FrozenClip",
        "model": {"_target_": "opsnet.clip.loading.load_clip", "architecture": architecture, "weights": IN_FOLDER},
        "tokenizer": {"_target_": "open_clip.tokenizer.SimpleTokenizer", "context_length": length},
        "templates": ["a photo of a {}."],
    }


def _is_convnext(clip: Mapping[str, Any]) -> bool:
    architecture = clip["model"]["architecture"]
    name = architecture.get("model_name") or architecture.get("config", {}).get("vision_cfg", {}).get("timm_model_name")
    return "convnext" in str(name)
