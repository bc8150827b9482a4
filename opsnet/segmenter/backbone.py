"""Any timm backbone as a feature pyramid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor, nn

from opsnet.errors import InputError


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
        mean, std: the normalisation that the weights were trained with, RGB in 0..1 (ImageNet's by default).

    Raises:
        BackboneError: unknown name, missing file, or weights that could not be fetched.
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
        mean: tuple[float, float, float] = (0.485, 0.456, 0.406),
        std: tuple[float, float, float] = (0.229, 0.224, 0.225),
    ) -> None:
        super().__init__()
        import timm  # here: it takes seconds to import, and a checkpoint of another CLIP should fail before that

        if not timm.is_model(name):
            raise BackboneError(f"timm has no model '{name}' (backbone.name): see timm.list_models()")
        if weights is not None and not Path(weights).is_file():
            raise BackboneError(f"backbone weights {weights} (backbone.weights) do not exist: check the path")
        kwargs: dict[str, Any] = dict(model_args or {})
        if out_indices is not None:
            kwargs["out_indices"] = tuple(out_indices)
        if weights is not None:
            kwargs["pretrained_cfg_overlay"] = {"file": str(weights)}
        try:
            self.model = timm.create_model(
                name, features_only=True, pretrained=pretrained or weights is not None, **kwargs
            )
        except (OSError, RuntimeError, EOFError, UnpicklingError) as error:
            raise BackboneError(
                f"backbone '{name}': weights could not be loaded ({error}); offline, give +backbone.weights=FILE or "
                "backbone.pretrained=false"
            ) from error
        info: Any = self.model.feature_info
        self.channels: tuple[int, ...] = tuple(info.channels())
        self.strides: tuple[int, ...] = tuple(info.reduction())
        self.channels_last = getattr(self.model, "output_fmt", "NCHW") == "NHWC"
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Images (B, 3, H, W), RGB in 0..1 -> maps (B, C_i, H / stride_i, W / stride_i), finest first."""
        maps = self.model((images - self.mean) / self.std)
        # Swin answers channels-last and says so; a shape such as 96 x 96 x 96 would not tell.
        return [m.permute(0, 3, 1, 2) if self.channels_last else m for m in maps]
