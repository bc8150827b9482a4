"""Any timm backbone as a feature pyramid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor, nn

from opsnet.ops.normalization import normalize
from opsnet.utils.errors import InputError


class BackboneError(InputError):
    """A backbone that cannot be built or loaded; the message names it and the fix."""


class Backbone(nn.Module):
    """Feature maps of a timm model, finest first.

    Args:
        name: a timm model that supports ``features_only``.
        pretrained: load timm's weights (needs the network once).
        weights: a local file of timm weights instead; checked before anything is built.
        out_indices: which stages; ``None`` takes all.
        model_args: passed on to timm.
        output_norms: a LayerNorm on every map, as the Swins of Mask2Former have it.
        frozen_norms: BatchNorms keep the statistics and scales that they came with, as in detectron2's ResNets: the few
            pictures of a detection batch would give worse ones.
        fold_norms: frozen norms are computed by the convolutions before them: the same maps up to rounding. Faster
            where a convolution is cheaper than writing its map (depthwise ones); needs ``frozen_norms``.
        frozen_stages: the stem and so many of the maps' stages, finest first, keep the weights that they came with:
            without gradients there the backward pass ends before the widest maps.
        synced_norms: BatchNorms take their statistics over the pictures of all processes.
        checkpointing: compute activations again in the backward pass instead of keeping them: slower, much smaller.
        mean, std: the normalisation that the weights were trained with, RGB in 0..1 (ImageNet's by default).

    Raises:
        BackboneError: unknown name, missing file, weights of another model, or weights that could not be fetched.
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

        ``inside`` tells padding apart, see :func:`opsnet.ops.normalization.inside_images`.
        """
        maps = self.model(normalize(images, self.mean, self.std, inside))
        # Swin answers channels-last and says so; a shape such as 96 x 96 x 96 would not tell.
        maps = maps if self.channels_last else [m.permute(0, 2, 3, 1) for m in maps]
        return [norm(m).permute(0, 3, 1, 2) for norm, m in zip(self.norms, maps, strict=True)]


def _check(name: str, weights: str | Path | None, *, frozen_norms: bool, fold_norms: bool) -> None:
    """Raises what is wrong with the arguments before anything is built."""
    import timm  # here: it takes seconds to import, and a checkpoint of another CLIP should fail before that

    if not timm.is_model(name):
        raise BackboneError(f"timm has no model '{name}' (backbone.name): see timm.list_models()")
    if weights is not None and not Path(weights).is_file():
        raise BackboneError(f"backbone weights {weights} (backbone.weights) do not exist: check the path")
    if fold_norms and not frozen_norms:
        raise BackboneError("backbone.fold_norms needs norms that stay as they are: set backbone.frozen_norms=true")


def _create(name: str, pretrained: bool, weights: str | Path | None, options: Mapping[str, Any]) -> nn.Module:
    """A timm model that returns its maps, with weights if asked for.

    Raises:
        BackboneError: the weights could not be loaded, or are of another model.
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
    except (OSError, RuntimeError, EOFError, UnpicklingError) as error:
        raise BackboneError(
            f"backbone '{name}': weights could not be loaded ({error}); offline, give +backbone.weights=FILE or "
            "backbone.pretrained=false"
        ) from error
    if weights is not None:
        _require_loaded(model, weights)
    if swin:
        take_any_size(model)
    return model


def _set_norms(model: nn.Module, *, frozen: bool, fold: bool, synced: bool) -> nn.Module:
    """BatchNorms of another kind in place of timm's."""
    from opsnet.segmenter.frozen_norm import freeze_norms
    from opsnet.segmenter.synced_norm import sync_norms

    model = freeze_norms(model, fold=fold) if frozen else model
    return sync_norms(model) if synced else model


def _require_loaded(model: nn.Module, path: str | Path) -> None:
    """Makes sure that the weights are those of a file: timm takes what has a place and leaves the rest at random.

    Raises:
        BackboneError: fewer than half of them are.
    """
    from timm.models import load_state_dict

    held = {_content(tensor) for tensor in load_state_dict(str(path)).values() if isinstance(tensor, Tensor)}
    own = [weight for weight in model.parameters() if weight.ndim > 1]
    found = sum(_content(weight.detach()) in held for weight in own)
    if 2 * found < len(own):
        raise BackboneError(
            f"backbone weights {path} (backbone.weights) are of another model: {found} of {len(own)} weights are in "
            "there: give the file of the timm model that backbone.name is"
        )


def _content(tensor: Tensor) -> tuple[tuple[int, ...], int]:
    return tuple(tensor.shape), hash(tensor.float().contiguous().numpy().tobytes())


def _freeze_stages(model: Any, count: int) -> None:
    """No gradients for all that comes up to the end of the ``count``-th map's stage.

    Raises:
        BackboneError: the model has fewer maps.
    """
    ends = [name.replace(".", "_") for name in model.feature_info.module_name()]
    if not 0 <= count <= len(ends):
        raise BackboneError(f"backbone.frozen_stages is {count}, but the backbone has {len(ends)} maps: give 0 to that")
    if not count:
        return
    # timm joins a nested stage's name by underscores in some of its feature extractors and keeps the dot in others.
    names = [name for name, _ in model.named_parameters()]
    inside = [i for i, name in enumerate(names) if f"{name.replace('.', '_')}_".startswith(f"{ends[count - 1]}_")]
    for name in names[: max(inside) + 1]:
        model.get_parameter(name).requires_grad_(False)


def _checkpoint(model: Any) -> None:
    """Block by block where timm's stages can (Swin), stage by stage where they cannot."""
    stages = [module for module in model.children() if hasattr(module, "grad_checkpointing")]
    for stage in stages:
        stage.grad_checkpointing = True
    if not stages:
        model.set_grad_checkpointing(True)
