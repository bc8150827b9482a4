"""Bilinear sampling of maps at points, for a single map and for the masks of all decoder layers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def sample_points(maps: Tensor, points: Tensor) -> Tensor:
    """Bilinear values of maps (B, C, h, w) at points (B, P, 2), (x, y) in 0..1 -> (B, C, P).

    The reference for :meth:`SharedPoints.read`; maps are zero outside.
    """
    return F.grid_sample(maps, 2 * points[:, :, None] - 1, mode="bilinear", align_corners=False)[..., 0]


class SharedPoints:
    """Points of each image at which any number of its maps are sampled, all channels of a point at once.

    On a CPU and for many channels several times as fast as :func:`sample_points`, which samples channel by channel;
    equal up to rounding. On a GPU that function is six times as fast, and is used (docs/benchmarks.md, "GPU").

    Args:
        points: (B, P, 2), (x, y) in 0..1.
    """

    def __init__(self, points: Tensor) -> None:
        self.points = points
        self._corners: dict[tuple[int, int], tuple[Tensor, Tensor]] = {}

    def read(self, maps: Tensor, out: Tensor | None = None) -> Tensor:
        """Bilinear values of maps (B, C, h, w), which are zero outside -> (B, C, P).

        Args:
            maps: the maps to sample.
            out: an earlier output of the same shape to overwrite, without gradients: on a CPU allocating memory for
                thousands of points takes longer than sampling them.
        """
        if maps.device.type == "cuda":
            values = sample_points(maps, self.points.to(maps.dtype))
            return values if out is None else out.copy_(values)
        batch, channels, height, width = maps.shape
        if (height, width) not in self._corners:
            self._corners[height, width] = self._find_corners(height, width)
        indices, weights = self._corners[height, width]
        table, weights = _pixel_rows(maps), weights.to(maps.dtype)
        if out is None:
            return _weighted_rows(table, indices, weights).view(batch, -1, channels).mT
        rows = out.mT.view(-1, channels)
        for begin in range(0, len(rows), _AT_ONCE):
            part = slice(begin, begin + _AT_ONCE)
            rows[part] = _weighted_rows(table, indices[part], weights[part])
        return out

    def _find_corners(self, height: int, width: int) -> tuple[Tensor, Tensor]:
        """The four pixels around each point as rows of a table of all pixels, and their weights; both (B * P, 4)."""
        device = self.points.device
        x, y = self.points[..., 0] * width - 0.5, self.points[..., 1] * height - 0.5
        indices, weights = [], []
        for row, row_share in _neighbours(y):
            for column, column_share in _neighbours(x):
                inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
                indices.append(row.clamp(0, height - 1) * width + column.clamp(0, width - 1))
                weights.append(row_share * column_share * inside)
        starts = torch.arange(len(self.points), device=device)[:, None, None] * (height * width)
        return (torch.stack(indices, dim=-1) + starts).flatten(0, 1), torch.stack(weights, dim=-1).flatten(0, 1)


_AT_ONCE = 2048  # points; their values stay in the cache until they are copied to the output


def _weighted_rows(table: Tensor, indices: Tensor, weights: Tensor) -> Tensor:
    return F.embedding_bag(indices, table, mode="sum", per_sample_weights=weights)


def _pixel_rows(maps: Tensor) -> Tensor:
    """Maps (B, C, h, w) -> a table of all pixels, (B * h * w, C)."""
    batch, channels, height, width = maps.shape
    has_gradient = torch.is_grad_enabled() and maps.requires_grad  # the copies below would lose it
    if has_gradient or maps.is_contiguous(memory_format=torch.channels_last):
        return maps.permute(0, 2, 3, 1).reshape(-1, channels)
    rows = maps.new_empty(batch, height * width, channels)
    for table, one in zip(rows, maps, strict=True):
        table.copy_(one.flatten(1).T)  # PyTorch transposes one matrix several times as fast as a batch of them
    return rows.flatten(0, 1)


def _neighbours(position: Tensor) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """The two integers around each position, and their weights."""
    below = position.floor()
    share = position - below
    return (below.long(), 1 - share), (below.long() + 1, share)


@torch.no_grad()
def masks_at_points(points: SharedPoints, embeds: Sequence[Tensor], pixels: Tensor) -> Iterator[Tensor]:
    """Mask logits of every decoder layer at P points of each image, (B, K, P), without gradients.

    Samples the pixel embeddings before the product if an image has more pixels than points, otherwise the masks after
    it, whichever is cheaper. Equal to :func:`masks_at_points_reference` up to rounding.

    Args:
        points: points of B images.
        embeds: mask embeddings of each layer, (B, K, C).
        pixels: pixel embeddings (B, C, h, w).

    Yields:
        Masks in memory that all layers share: they are valid until the next ones are requested.
    """
    masks = None
    if pixels.shape[-2:].numel() > points.points.shape[1]:
        few = points.read(pixels)
        for e in embeds:
            masks = torch.matmul(e, few, out=masks)
            yield masks
    else:
        table = pixels.permute(0, 2, 3, 1)
        for e in embeds:  # channels last, the layout in which points are sampled
            everywhere = (table.flatten(1, 2) @ e.mT).unflatten(1, table.shape[1:3])
            masks = points.read(everywhere.permute(0, 3, 1, 2), out=masks)
            yield masks


@torch.no_grad()
def masks_at_points_reference(points: Tensor, embeds: Sequence[Tensor], pixels: Tensor) -> list[Tensor]:
    """The same for points (B, P, 2): computes the full masks, then samples them."""
    return [sample_points(torch.einsum("bkc, bchw -> bkhw", e, pixels), points) for e in embeds]
