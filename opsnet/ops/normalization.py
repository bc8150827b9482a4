"""Normalisation of padded images: first normalise, then pad with zeros, as detectron2 does.

A batch is padded before the networks normalise it, each with its own mean. Black padding would then become a coloured
border that convolutions carry into the image, so the padding is set to zero after the normalisation.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

Sizes = Sequence[tuple[int, int]] | Tensor
"""(height, width) in pixels of each image in a padded batch; as a tensor, (B, 2) int64."""


def inside_images(valid_sizes: Sizes | None, images: Tensor) -> Tensor | None:
    """Which pixels of images (B, 3, H, W) are not padding, (B, 1, H, W) bool; ``None`` if there is no padding.

    Args:
        valid_sizes: size of each image; ``None``: every image fills the batch.
        images: the padded batch.

    Raises:
        ValueError: the number of sizes is not the number of images.
    """
    if valid_sizes is None:
        return None
    height, width = images.shape[-2:]
    if not isinstance(valid_sizes, Tensor):
        if len(valid_sizes) != len(images):
            raise ValueError(f"{len(images)} images need as many valid sizes, got {len(valid_sizes)}")
        if all(size == (height, width) for size in valid_sizes):
            return None
        valid_sizes = torch.tensor(valid_sizes, device=images.device)
    rows, columns = torch.arange(height, device=images.device), torch.arange(width, device=images.device)
    inside = (rows < valid_sizes[:, :1])[:, :, None] & (columns < valid_sizes[:, 1:])[:, None]
    return inside[:, None]


def normalize(images: Tensor, mean: Tensor, std: Tensor, inside: Tensor | None = None) -> Tensor:
    """Normalises images (B, 3, H, W), RGB in 0..1; zero in the padding.

    Args:
        images: padded at the right and bottom.
        mean, std: (3, 1, 1).
        inside: see :func:`inside_images`.
    """
    normalized = (images - mean) / std
    return normalized if inside is None else normalized * inside
