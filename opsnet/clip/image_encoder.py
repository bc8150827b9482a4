"""The frozen CLIP image encoder as a dense feature extractor (paper, section 3.2)."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from opsnet.clip.spatial_adapter import SpatialAdapter
from opsnet.ops.adaptive_average import adaptive_average
from opsnet.ops.normalization import normalize


class ClipImageEncoder(nn.Module):
    """Images -> CLIP features in the language space, in one pass per image and without gradients.

    Args:
        clip: an open_clip model whose ``visual`` is a ModifiedResNet with an attention pool.
        mean, std: CLIP's own normalisation, RGB in 0..1.
        pool_stride: average the feature map to this stride in pixels for Mask Pooling; ``None``: the trunk's stride.
        precision: "fp32" or "bf16", regardless of the surrounding autocast; ``None``: the autocast's.

    Raises:
        ValueError: the image tower has no attention pool (a ViT), or the precision is unknown.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        *,
        clip: nn.Module,
        mean: Sequence[float],
        std: Sequence[float],
        pool_stride: int | None = None,
        precision: str | None = None,
    ) -> None:
        super().__init__()
        if precision not in (None, "fp32", "bf16"):
            raise ValueError(f"clip.precision must be fp32, bf16 or null (the trainer's), got '{precision}'")
        pool = getattr(clip.visual, "attnpool", None)
        if pool is None:
            raise ValueError(
                f"{type(clip.visual).__name__} has no attention pool: the Spatial Adapter needs a CLIP ResNet, "
                "such as clip=rn50"
            )
        self.visual: nn.Module = clip.visual  # type: ignore[assignment]
        self.adapter = SpatialAdapter(value=pool.v_proj, output=pool.c_proj)
        self.embed_dim: int = pool.c_proj.out_features
        self.image_size: int = getattr(clip.visual, "image_size", 224)
        self.pool_stride, self.precision = pool_stride, precision
        self.register_buffer("mean", torch.tensor(list(mean)).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(list(std)).view(3, 1, 1), persistent=False)
        self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> ClipImageEncoder:
        """Stays in evaluation mode: BatchNorm statistics are part of the frozen weights."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, images: Tensor, inside: Tensor | None = None) -> Tensor:
        """Images (B, 3, H, W), RGB in 0..1 -> adapted map (B, D, h, w), not normalised.

        ``inside`` masks out padding, see :func:`opsnet.ops.normalization.inside_images`.
        """
        with self._autocast(images.device):
            x = self.visual.stem(normalize(images, self.mean, self.std, inside))  # type: ignore[operator]
            for stage in (self.visual.layer1, self.visual.layer2, self.visual.layer3, self.visual.layer4):
                x = stage(x)  # type: ignore[operator]
            x = self.adapter(x)
        return self._output(x)

    def _output(self, x: Tensor) -> Tensor:
        """Casts to fp32 if the encoder sets its own precision, because later modules may not run under autocast."""
        return x if self.precision is None else x.float()

    def _autocast(self, device: torch.device) -> AbstractContextManager[Any]:
        if self.precision is None:
            return nullcontext()
        return torch.autocast(device.type, torch.bfloat16, enabled=self.precision == "bf16")

    def for_pooling(self, features: Tensor, size: tuple[int, int]) -> Tensor:
        """The adapted map (B, D, h, w) of images of ``size`` pixels, averaged to ``pool_stride`` if that is set."""
        if self.pool_stride is None:
            return features
        height, width = (max(1, side // self.pool_stride) for side in size)
        return adaptive_average(features, (height, width))

    @torch.no_grad()
    def embed_whole(self, images: Tensor) -> Tensor:
        """Images (B, 3, S, S) at CLIP's input size, RGB in 0..1 -> pooled embeddings (B, D), as in CLIP's training."""
        with self._autocast(images.device):
            return self._output(self.visual(normalize(images, self.mean, self.std)))
