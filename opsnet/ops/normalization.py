"""Normalisation of padded images: first normalise, then pad with zeros, as detectron2 does.

A batch is padded before the networks normalise it, each with a mean of its own; black pixels would then be a border
of another colour, which normalisation and convolutions carry into the image. So the padding is set to zero afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

Sizes = Sequence[tuple[int, int]] | Tensor
"""(height, width) in pixels of each image in a padded batch; as a tensor, (B, 2) int64."""


def inside_images(valid_sizes: Sizes | None, images: Tensor) -> Tensor | None:
    """Which pixels of images (B, 3, H, W) are no padding, (B, 1, H, W) bool; ``None`` where all are.

    Args:
        valid_sizes: of each image; ``None``: every image fills the batch.
        images: the padded batch.

    Raises:
        ValueError: as many sizes as images are needed.
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
    """Images (B, 3, H, W), RGB in 0..1 -> the same normalised, zero in the padding.

    Args:
        images: padded at the right and bottom.
        mean, std: (3, 1, 1).
        inside: see :func:`inside_images`.
    """
    normalized = (images - mean) / std
    return normalized if inside is None else normalized * inside
