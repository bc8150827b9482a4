"""Mask losses on sampled points instead of whole masks (PointRend; Mask2Former, section 3.3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from opsnet.utils.seeding import image_number, mix_seed


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


OVERSAMPLE = 3.0
"""How many random points are tried for one that is read in the mask losses (PointRend's, Mask2Former's)."""
UNDECIDED = 0.75
"""Share of the points read that goes to where the mask is least decided."""


@dataclass(frozen=True)
class StepPoints:
    """The random points of one training step, which all decoder layers share; (x, y) in 0..1.

    Attributes:
        matching: (B, P, 2), of the matching, a picture's own.
        tried: (T, 2), among which each mask's least decided points are sought; the same for all masks.
        rest: (B, R, 2), read in every mask of a picture, wherever it is decided.
        count: P, points of a mask in the mask losses, R of them from ``rest``.
    """

    matching: Tensor
    tried: Tensor
    rest: Tensor

    @property
    def count(self) -> int:
        """P."""
        return self.matching.shape[1]

    @classmethod
    def draw(cls, count: int, seeds: StepSeeds, device: torch.device) -> StepPoints:
        """``count`` points a mask for the pictures of a batch, whose number and order change none of them."""
        tried, rest = int(count * OVERSAMPLE), count - int(count * UNDECIDED)
        own = torch.stack([_uniform(count + rest, seed, device) for seed in seeds.pictures])
        return cls(own[:, :count], _uniform(tried, seeds.step, device), own[:, count:])


@dataclass(frozen=True)
class StepSeeds:
    """Seeds of a training step: one that all processes share, and one a picture (B)."""

    step: int
    pictures: tuple[int, ...]

    @classmethod
    def of(cls, seed: int, step: int, image_ids: Sequence[int | str]) -> StepSeeds:
        """Functions of (seed, step) and (seed, step, picture): who trains beside a picture changes nothing."""
        return cls(mix_seed(seed, step), tuple(mix_seed(seed, step, image_number(i)) for i in image_ids))

    @classmethod
    def fresh(cls, batch: int) -> StepSeeds:
        """Seeds drawn from torch's own generator, for a batch that is part of no training."""
        step, *pictures = torch.randint(2**62, (1 + batch,)).tolist()
        return cls(step, tuple(pictures))


def _uniform(count: int, seed: int, device: torch.device) -> Tensor:
    generator = torch.Generator(device).manual_seed(seed)
    return torch.rand(count, 2, device=device, generator=generator)


@torch.no_grad()
def undecided_points(mask_logits: Tensor, tried: SharedPoints, count: int) -> Tensor:
    """Which of the points tried each mask is least sure of.

    Args:
        mask_logits: (S, h, w), one map a row.
        tried: T points, of one picture: the maps stand in it as channels.
        count: P.

    Returns:
        (S, P) int64 indices into the points tried.
    """
    certainty = tried.read(mask_logits[None])[0].abs().contiguous()
    return certainty.topk(count, dim=1, largest=False, sorted=False).indices
