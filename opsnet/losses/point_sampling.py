"""Mask losses on sampled points instead of whole masks (PointRend; Mask2Former, section 3.3)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def sample_points(maps: Tensor, points: Tensor) -> Tensor:
    """Bilinear values of maps (B, C, h, w) at points (B, P, 2), (x, y) in 0..1 -> (B, C, P)."""
    return F.grid_sample(maps, 2 * points[:, :, None] - 1, mode="bilinear", align_corners=False)[..., 0]


class SharedPoints:
    """Points of each image at which any number of its maps are read, all channels of a point at once.

    For many channels several times as fast as :func:`sample_points`, which reads channel by channel.

    Args:
        points: (B, P, 2), (x, y) in 0..1.
    """

    def __init__(self, points: Tensor) -> None:
        self.points = points
        self._corners: dict[tuple[int, int], tuple[Tensor, Tensor]] = {}

    def read(self, maps: Tensor, out: Tensor | None = None) -> Tensor:
        """Bilinear values of maps (B, C, h, w), which count as zero outside -> (B, C, P).

        Args:
            maps: to read.
            out: an earlier answer of the same shape, to be overwritten: on a CPU new memory for thousands of points
                takes longer than reading them. No gradient passes then.
        """
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
        """The four pixels around each point as rows of a table of all pixels, and their shares; both (B * P, 4)."""
        device = self.points.device
        x, y = (self.points * self.points.new_tensor((width, height)) - 0.5).unbind(-1)
        indices, weights = [], []
        for row, row_share in _neighbours(y):
            for column, column_share in _neighbours(x):
                inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
                indices.append(row.clamp(0, height - 1) * width + column.clamp(0, width - 1))
                weights.append(row_share * column_share * inside)
        starts = torch.arange(len(self.points), device=device)[:, None, None] * (height * width)
        return (torch.stack(indices, dim=-1) + starts).flatten(0, 1), torch.stack(weights, dim=-1).flatten(0, 1)


_AT_ONCE = 2048  # points; their values stay in the cache until they are written to their place


def _weighted_rows(table: Tensor, indices: Tensor, weights: Tensor) -> Tensor:
    return F.embedding_bag(indices, table, mode="sum", per_sample_weights=weights)


def _pixel_rows(maps: Tensor) -> Tensor:
    """Maps (B, C, h, w) -> a table of all pixels, (B * h * w, C)."""
    batch, channels, height, width = maps.shape
    if maps.is_contiguous(memory_format=torch.channels_last):
        return maps.permute(0, 2, 3, 1).reshape(-1, channels)
    rows = maps.new_empty(batch, height * width, channels)
    for table, one in zip(rows, maps, strict=True):
        table.copy_(one.flatten(1).T)  # PyTorch transposes one matrix several times as fast as a batch of them
    return rows.flatten(0, 1)


def _neighbours(position: Tensor) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """The two whole numbers around each position, and how much each counts."""
    below = position.floor()
    share = position - below
    return (below.long(), 1 - share), (below.long() + 1, share)


@torch.no_grad()
def uncertain_points(mask_logits: Tensor, count: int, oversample: float = 3.0, share: float = 0.75) -> Tensor:
    """Points where masks are undecided, and a random rest.

    Args:
        mask_logits: (S, h, w), one map a row.
        count: P, points a row.
        oversample: how many times ``count`` random points are tried, the same for all maps.
        share: of ``count`` that goes to the most undecided of them.

    Returns:
        (S, P, 2), (x, y) in 0..1.
    """
    rows, device = mask_logits.shape[0], mask_logits.device
    tried = torch.rand(int(count * oversample), 2, device=device)
    certainty = SharedPoints(tried[None]).read(mask_logits[None])[0].abs().contiguous()
    chosen = certainty.topk(int(count * share), dim=1, largest=False, sorted=False).indices
    undecided = F.embedding(chosen, tried)
    return torch.cat((undecided, torch.rand(rows, count - undecided.shape[1], 2, device=device)), dim=1)
