"""Checks of the built networks: parameters by part, whether weights were loaded, and CLIP's activation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from torch import nn

from opsnet.clip.architecture import uses_quick_gelu
from opsnet.clip.loading import weights_hash
from opsnet.diagnosis.checklist import Checklist

PARTS = {
    "backbone": "backbone",
    "pixel_decoder": "pixel decoder",
    "query_decoder": "query decoder",
    "clip": "CLIP, frozen",
    "no_object_embed": "no-object embedding",
    "log_logit_scale": "logit scale",
}
ADAM_STATES = 2  # tensors that AdamW stores per parameter


def count_parameters(model: nn.Module) -> dict[str, tuple[int, int]]:
    """Part -> (trained, frozen) parameters; shared parameters are counted once.

    Args:
        model: an OPSNet.
    """
    counts: dict[str, tuple[int, int]] = {}
    for name, parameter in model.named_parameters():
        part = PARTS[name.split(".")[0]]
        trained, frozen = counts.get(part, (0, 0))
        size = parameter.numel()
        counts[part] = (trained + size, frozen) if parameter.requires_grad else (trained, frozen + size)
    return {part: counts[part] for part in PARTS.values() if part in counts}


def checkpoint_bytes(model: nn.Module) -> int:
    """Size of a future checkpoint: all weights except CLIP's, and the states of AdamW."""
    stored = sum(t.numel() * t.element_size() for k, t in model.state_dict().items() if not k.startswith("clip."))
    trained = sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad)
    return stored + ADAM_STATES * trained


def check_weights(cfg: DictConfig, model: Any, checklist: Checklist) -> None:
    """Reports the initial weights of the networks with their hashes, and warns about random ones.

    Args:
        cfg: conf/train.yaml.
        model: an OPSNet, built from it.
        checklist: receives a result for the backbone and one for CLIP.
    """
    _check_backbone(cfg, model, checklist)
    _check_clip(cfg, model.clip.weights_hash, checklist)


def _check_backbone(cfg: DictConfig, model: Any, checklist: Checklist) -> None:
    if model.shares_clip:
        levels = ", ".join(map(str, cfg.backbone.levels))
        checklist.ok("backbone weights", f"none: it is CLIP's frozen trunk, levels {levels}")
        return
    backbone = cfg.backbone
    origin = cfg.init_from or cfg.model.get("weights") or backbone.get("weights")
    if not origin and backbone.get("pretrained", False):
        origin = f"timm's {_timm_tag(model.backbone) or backbone.name}"
    summary = f"{backbone.name}, hash {weights_hash(model.backbone)}"
    if origin:
        checklist.ok("backbone weights", f"{summary}, from {origin}")
    elif backbone.get("frozen_norms", False):
        checklist.warn(
            "backbone weights",
            f"{summary}: random, with norms frozen at their initial statistics: give backbone.pretrained=true or "
            "++backbone.weights=FILE",
        )
    else:
        checklist.ok("backbone weights", f"{summary}: random, trained from scratch")


def _check_clip(cfg: DictConfig, digest: str, checklist: Checklist) -> None:
    weights, summary = str(cfg.clip.model.weights), f"hash {digest}"
    if weights == "random":
        checklist.warn("CLIP weights", f"{summary}: random weights, only for tests: give clip.model.weights=FILE")
        return
    pretrained = cfg.clip.model.architecture.get("pretrained")
    if weights == "builtin" and "pretrained" in cfg.clip.model.architecture and not pretrained:
        checklist.fail(
            "CLIP weights",
            f"{summary}: random, because clip.model.architecture.pretrained is null and no file is given: give "
            "clip.model.weights=FILE, or clip.model.architecture.pretrained=openai",
        )
    else:
        checklist.ok("CLIP weights", f"{summary}, from {f'tag {pretrained}' if weights == 'builtin' else weights}")


def _timm_tag(backbone: Any) -> str | None:
    cfg = getattr(backbone.model, "pretrained_cfg", None) or {}
    cfg = cfg if isinstance(cfg, dict) else vars(cfg)
    tag = cfg.get("tag")
    return f"{cfg.get('architecture')}.{tag}" if tag else None


def check_activation(clip_config: DictConfig, clip: nn.Module, checklist: Checklist) -> None:
    """Compares the activation with which CLIP was built to the one with which its weights were trained.

    The latter is known from open_clip for its tags, from a configuration next to a local file
    (``open_clip_config.json``), or if the file has the format of OpenAI's release. For other files it can only be
    inferred from all published weights of the architecture, which yields a warning instead of a failure.

    Args:
        clip_config: conf/clip.
        clip: the open_clip model that was built from it.
        checklist: receives the result.
    """
    import open_clip

    architecture, weights = clip_config.model.architecture, str(clip_config.model.weights)
    name = architecture.get("model_name")
    built, check = built_activation(clip), "CLIP activation"
    if name is None or built is None:
        checklist.ok(check, "not an open_clip architecture: nothing to compare with")
        return
    if weights == "random":
        checklist.ok(check, f"{built}; random weights need none in particular")
        return
    weights = str(architecture.get("pretrained")) if weights == "builtin" else weights
    base = name.removesuffix("-quickgelu")  # the name under which open_clip lists all tags
    tag = open_clip.get_pretrained_cfg(base, weights)  # empty for a file
    if tag:
        wanted, why = _named(tag.get("quick_gelu", False)), f"open_clip's tag {weights}"
    else:
        wanted, why = _of_file(Path(weights).expanduser(), clip)
    proven = wanted is not None
    if not proven:
        wanted, why = _of_published(base), f"all published weights of {base} (it cannot be read from the file)"
    if wanted is None:
        checklist.ok(check, f"{built}; the activation of {weights} cannot be determined from the file")
    elif wanted == built:
        checklist.ok(check, f"{built}, according to {why}")
    else:
        fix = f"{base}-quickgelu" if wanted == "QuickGELU" else base
        sentence = (
            f"CLIP is built with {built}, but needs {wanted} according to {why}: give "
            f"clip.model.architecture.model_name={fix}"
        )
        (checklist.fail if proven else checklist.warn)(check, sentence)


def built_activation(clip: nn.Module) -> str | None:
    """``QuickGELU`` or ``GELU``, for an open_clip model; ``None`` if it has neither."""
    if uses_quick_gelu(clip):
        return "QuickGELU"
    return "GELU" if any(isinstance(module, nn.GELU) for module in clip.modules()) else None


def _named(quick: bool | None) -> str | None:
    return None if quick is None else "QuickGELU" if quick else "GELU"


def _of_file(path: Path, clip: nn.Module) -> tuple[str | None, str]:
    """The activation with which a weights file was trained, and the source of this information; ``None`` if unknown."""
    config = path.with_name("open_clip_config.json")
    if config.is_file():
        content = json.loads(config.read_text(encoding="utf-8")).get("model_cfg", {})
        return _named(bool(content.get("quick_gelu", False))), str(config)
    if stored_as_openai(clip):
        return "QuickGELU", f"{path.name} (half-precision values, as in OpenAI's release)"
    return None, ""


def stored_as_openai(clip: nn.Module) -> bool:
    """Whether all weights of linear layers and convolutions are representable in half precision.

    OpenAI's release stores them that way (its ``convert_weights``). Weights trained by open_clip are in single
    precision.
    """
    layers = [m.weight for m in clip.modules() if isinstance(m, (nn.Linear, nn.Conv2d))]
    return bool(layers) and all(torch.equal(w, w.half().to(w.dtype)) for w in layers)


def _of_published(name: str) -> str | None:
    """The activation of all published weights of an architecture; ``None`` if they differ."""
    import open_clip

    tags = open_clip.list_pretrained_tags_by_model(name)
    kinds = {bool(open_clip.get_pretrained_cfg(name, tag).get("quick_gelu", False)) for tag in tags}
    return _named(kinds.pop()) if len(kinds) == 1 else None
