"""Which points the mask losses are computed on, instead of whole masks (PointRend; Mask2Former, section 3.3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from opsnet.ops.maps_at_points import SharedPoints as SharedPoints
from opsnet.ops.maps_at_points import sample_points as sample_points
from opsnet.utils.seeding import image_number, mix_seed

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
