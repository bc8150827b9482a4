"""The frozen CLIP image encoder as a dense feature extractor (paper, section 3.2)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from opsnet.clip.pooling import POOLINGS
from opsnet.clip.trunks import trunk_of
from opsnet.ops.adaptive_average import adaptive_average
from opsnet.ops.normalization import normalize


class ClipImageEncoder(nn.Module):
    """Images -> CLIP features, in one pass per image and without gradients.

    Args:
        clip: an open_clip model whose ``visual`` is a ModifiedResNet with an attention pool, or a ConvNeXt.
        mean, std: CLIP's own normalisation, RGB in 0..1.
        pooling: how the map becomes an embedding per proposal, see :mod:`opsnet.clip.pooling`; ``None``: "adapter" for
            a ResNet, "project_after" for a ConvNeXt.
        pool_stride: average the feature map to this stride in pixels for Mask Pooling; ``None``: the trunk's stride.
        precision: "fp32" or "bf16", regardless of the surrounding autocast; ``None``: the autocast's.

    Raises:
        ValueError: the image tower has no dense features (a ViT), or the precision or pooling is unknown.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        *,
        clip: nn.Module,
        mean: Sequence[float],
        std: Sequence[float],
        pooling: str | None = None,
        pool_stride: int | None = None,
        precision: str | None = None,
    ) -> None:
        super().__init__()
        if precision not in (None, "fp32", "bf16"):
            raise ValueError(f"clip.precision must be fp32, bf16 or null (the trainer's), got '{precision}'")
        if pooling not in (None, *POOLINGS):
            raise ValueError(f"clip.pooling must be one of {', '.join(POOLINGS)}, or null, got '{pooling}'")
        self.visual: nn.Module = clip.visual  # type: ignore[assignment]
        self.trunk = trunk_of(self.visual)
        self.pooling = POOLINGS[pooling or self.trunk.pooling](self.visual)
        size: Any = getattr(clip.visual, "image_size", 224)
        self.image_size = int(size[0] if isinstance(size, (tuple, list)) else size)
        self.pool_stride, self.precision = pool_stride, precision
        self.register_buffer("mean", torch.tensor(list(mean)).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(list(std)).view(3, 1, 1), persistent=False)
        self.requires_grad_(False).eval()

    @property
    def embed_dim(self) -> int:
        """D."""
        return self.pooling.embed_dim

    @property
    def map_dim(self) -> int:
        """Channels of the map."""
        return self.pooling.map_dim

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of the maps of :meth:`pyramid`."""
        return self.trunk.channels(self.visual)

    def train(self, mode: bool = True) -> ClipImageEncoder:
        """Stays in evaluation mode: BatchNorm statistics are part of the frozen weights."""
        return super().train(False)

    def forward(self, images: Tensor, inside: Tensor | None = None) -> Tensor:
        """Images (B, 3, H, W), RGB in 0..1 -> the map (B, map_dim, h, w), not normalised.

        ``inside`` masks out padding, see :func:`opsnet.ops.normalization.inside_images`.
        """
        return self._run(images, inside)

    def pyramid(self, images: Tensor, inside: Tensor | None = None) -> tuple[list[Tensor], Tensor]:
        """The maps after the stem and the four stages, (B, C_i, h_i, w_i), finest first, and that of :meth:`forward`.

        One pass of the trunk. Arguments as in :meth:`forward`.
        """
        maps: list[Tensor] = []
        clip_map = self._run(images, inside, lambda x: maps.append(self._output(x)))
        return maps, clip_map

    @torch.no_grad()
    def _run(self, images: Tensor, inside: Tensor | None, keep: Callable[[Tensor], None] | None = None) -> Tensor:
        """The map; ``keep`` is called with the result of each stage."""
        with self._autocast(images.device):
            x = normalize(images, self.mean, self.std, inside)
            for stage in self.trunk.stages(self.visual):
                x = stage(x)
                if keep is not None:
                    keep(x)
            x = self.pooling(x)
        return self._output(x)

    def pool(self, clip_map: Tensor, mask_logits: Tensor, size: tuple[int, int]) -> Tensor:
        """CLIP embeddings (B, K, D) of proposals, not normalised.

        Args:
            clip_map: of :meth:`forward`.
            mask_logits: (B, K, h', w').
            size: (height, width) in pixels of the padded images.
        """
        return self.pooling.pool(self.for_pooling(clip_map, size), mask_logits)

    def _output(self, x: Tensor) -> Tensor:
        """Casts to fp32 if the encoder sets its own precision, because later modules may not run under autocast."""
        return x if self.precision is None else x.float()

    def _autocast(self, device: torch.device) -> AbstractContextManager[Any]:
        if self.precision is None:
            return nullcontext()
        return torch.autocast(device.type, torch.bfloat16, enabled=self.precision == "bf16")

    def for_pooling(self, features: Tensor, size: tuple[int, int]) -> Tensor:
        """The map (B, map_dim, h, w) of images of ``size`` pixels, averaged to ``pool_stride`` if that is set."""
        if self.pool_stride is None:
            return features
        height, width = (max(1, side // self.pool_stride) for side in size)
        return adaptive_average(features, (height, width))

    @torch.no_grad()
    def embed_whole(self, images: Tensor) -> Tensor:
        """Images (B, 3, S, S) at CLIP's input size, RGB in 0..1 -> pooled embeddings (B, D), as in CLIP's training."""
        with self._autocast(images.device):
            return self._output(self.visual(normalize(images, self.mean, self.std)))
