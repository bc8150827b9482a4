"""Wraps any timm model as a feature pyramid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from opsnet.ops.normalization import normalize
from opsnet.utils.errors import InputError, reason_of


class BackboneError(InputError):
    """A backbone that cannot be built or loaded; the message names it and the fix."""


class Backbone(nn.Module):
    """Feature maps of a timm model, finest first.

    Args:
        name: a timm model that supports ``features_only``.
        pretrained: load timm's weights (downloads them once).
        weights: a local file of timm weights instead; checked before anything is built.
        out_indices: which stages to return; ``None``: all.
        model_args: passed to timm.
        output_norms: apply a LayerNorm to every map, as for the Swins in Mask2Former.
        frozen_norms: BatchNorms keep their pretrained statistics and scales, as in detectron2's ResNets, because the
            few images of a detection batch would give worse statistics.
        fold_norms: fold frozen norms into the preceding convolutions: the same maps up to rounding. Faster where a
            convolution is cheaper than writing its map (depthwise ones); needs ``frozen_norms``.
        frozen_stages: freeze the stem and this many stages, finest first, so that the backward pass ends before the
            widest maps.
        synced_norms: compute BatchNorm statistics over the images of all processes.
        checkpointing: recompute activations in the backward pass instead of storing them: slower, much less memory.
        mean, std: the normalisation of the pretrained weights, RGB in 0..1 (ImageNet's by default).

    Raises:
        BackboneError: the name is unknown, a file is missing, or the weights are of another model or not available.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        *,
        name: str,
        pretrained: bool = False,
        weights: str | Path | None = None,
        out_indices: Sequence[int] | None = None,
        model_args: Mapping[str, Any] | None = None,
        output_norms: bool = False,
        frozen_norms: bool = False,
        fold_norms: bool = False,
        frozen_stages: int = 0,
        synced_norms: bool = False,
        checkpointing: bool = False,
        mean: tuple[float, float, float] = (0.485, 0.456, 0.406),
        std: tuple[float, float, float] = (0.229, 0.224, 0.225),
    ) -> None:
        super().__init__()
        _check(name, weights, frozen_norms=frozen_norms, fold_norms=fold_norms)
        stages = {} if out_indices is None else {"out_indices": tuple(out_indices)}
        model = _create(name, pretrained, weights, {**(model_args or {}), **stages})
        self.model = _set_norms(model, frozen=frozen_norms, fold=fold_norms, synced=synced_norms)
        _freeze_stages(self.model, frozen_stages)
        if checkpointing:
            _checkpoint(self.model)
        info: Any = self.model.feature_info
        self.channels: tuple[int, ...] = tuple(info.channels())
        self.strides: tuple[int, ...] = tuple(info.reduction())
        self.norms = nn.ModuleList(nn.LayerNorm(c) if output_norms else nn.Identity() for c in self.channels)
        self.channels_last = getattr(self.model, "output_fmt", "NCHW") == "NHWC"
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)

    def forward(self, images: Tensor, inside: Tensor | None = None) -> list[Tensor]:
        """Images (B, 3, H, W), RGB in 0..1 -> maps (B, C_i, H / stride_i, W / stride_i), finest first.

        ``inside`` marks the pixels that are not padding, see :func:`opsnet.ops.normalization.inside_images`.
        """
        maps = self.model(normalize(images, self.mean, self.std, inside))
        # Swin returns channels-last maps and declares it; the shape alone (e.g. 96 x 96 x 96) can be ambiguous.
        maps = maps if self.channels_last else [m.permute(0, 2, 3, 1) for m in maps]
        return [norm(m).permute(0, 3, 1, 2) for norm, m in zip(self.norms, maps, strict=True)]


def _check(name: str, weights: str | Path | None, *, frozen_norms: bool, fold_norms: bool) -> None:
    """Validates the arguments before anything is built."""
    import timm  # here: importing takes seconds, and a checkpoint of another CLIP should fail before that

    if not timm.is_model(name):
        raise BackboneError(f"timm has no model '{name}' (backbone.name): see timm.list_models()")
    if weights is not None and not Path(weights).is_file():
        raise BackboneError(f"backbone weights {weights} (backbone.weights) do not exist: check the path")
    if fold_norms and not frozen_norms:
        raise BackboneError("backbone.fold_norms needs frozen norms: set backbone.frozen_norms=true")


def _create(name: str, pretrained: bool, weights: str | Path | None, options: Mapping[str, Any]) -> nn.Module:
    """Creates a timm model that returns feature maps, with weights if requested.

    Raises:
        BackboneError: the weights cannot be loaded or are of another model.
    """
    import timm

    from opsnet.segmenter.swin import ANY_SIZE, is_swin, take_any_size

    swin = is_swin(name)
    given: dict[str, Any] = {**(ANY_SIZE if swin else {}), **options}
    if weights is not None:
        given["pretrained_cfg_overlay"] = {"file": str(weights)}
    try:
        model: nn.Module = timm.create_model(
            name, features_only=True, pretrained=pretrained or weights is not None, **given
        )
    except Exception as error:  # PyTorch's parser raises whatever it stumbles over in a file
        reason = reason_of(error) or type(error).__name__
        if weights is not None:
            raise BackboneError(
                f"backbone '{name}': weights could not be loaded from {weights} ({reason}): give "
                "+backbone.weights=FILE with timm's weights of this model"
            ) from error
        if not isinstance(error, (OSError, RuntimeError)):
            raise
        if not pretrained:
            raise BackboneError(f"backbone '{name}' cannot be built ({reason}): correct backbone.model_args") from error
        raise BackboneError(
            f"backbone '{name}': weights could not be loaded ({reason}); offline, give +backbone.weights=FILE or "
            "backbone.pretrained=false"
        ) from error
    if weights is not None:
        _require_loaded(model, weights)
    if swin:
        take_any_size(model)
    return model


def _set_norms(model: nn.Module, *, frozen: bool, fold: bool, synced: bool) -> nn.Module:
    """Replaces timm's BatchNorms."""
    from opsnet.segmenter.frozen_norm import freeze_norms
    from opsnet.segmenter.synced_norm import sync_norms

    model = freeze_norms(model, fold=fold) if frozen else model
    return sync_norms(model) if synced else model


_RESIZED = ("relative_position_bias_table", "pos_embed")
"""Ends of the names of weights that timm resizes to the model's window or image size."""


def _require_loaded(model: nn.Module, path: str | Path) -> None:
    """Checks that every weight comes from the file: timm loads only matching ones and leaves the others random.

    Names say nothing, because timm renames the weights of many families while it loads them; so values are compared.

    Raises:
        BackboneError: a weight does not, or one of the file is not finite.
    """
    from timm.models import load_state_dict

    held = {name: value for name, value in load_state_dict(str(path)).items() if isinstance(value, Tensor)}
    for name, value in held.items():
        if not bool(value.isfinite().all()):
            raise BackboneError(
                f"backbone weights {path} (backbone.weights): {name} contains NaN or infinity: give another file"
            )
    known = set(map(_content, held.values()))
    own = {name: value for name, value in model.state_dict().items() if value.is_floating_point()}
    wrong = [name for name, value in own.items() if _content(value) not in known and not name.endswith(_RESIZED)]
    if wrong:
        raise BackboneError(
            f"backbone weights {path} (backbone.weights) are of another model: they have values for "
            f"{len(own) - len(wrong)} of {len(own)} weights, and none for {wrong[0]}; give the weights of the timm "
            "model backbone.name"
        )


def _content(tensor: Tensor) -> tuple[int, int]:
    """Values without shape: timm reshapes linear layers into convolutions."""
    return tensor.numel(), hash(tensor.detach().float().contiguous().numpy().tobytes())


def _freeze_stages(model: Any, count: int) -> None:
    """Freezes all parameters up to the end of the ``count``-th stage.

    Raises:
        BackboneError: the model has fewer stages.
    """
    ends = [name.replace(".", "_") for name in model.feature_info.module_name()]
    if not 0 <= count <= len(ends):
        raise BackboneError(
            f"backbone.frozen_stages is {count}, but the backbone has {len(ends)} maps: give 0 to {len(ends)}"
        )
    if not count:
        return
    # timm joins the name of a nested stage with underscores in some feature extractors and keeps the dot in others.
    names = [name for name, _ in model.named_parameters()]
    inside = [i for i, name in enumerate(names) if f"{name.replace('.', '_')}_".startswith(f"{ends[count - 1]}_")]
    for name in names[: max(inside) + 1]:
        model.get_parameter(name).requires_grad_(False)


def _checkpoint(model: Any) -> None:
    """Checkpoints each block where timm's stages support it (Swin), otherwise each stage."""
    stages = [module for module in model.children() if hasattr(module, "grad_checkpointing")]
    for stage in stages:
        stage.grad_checkpointing = True
    if not stages:
        model.set_grad_checkpointing(True)
