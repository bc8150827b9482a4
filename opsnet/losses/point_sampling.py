"""Samples the points at which mask losses are computed instead of on whole masks (PointRend; Mask2Former, 3.3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from opsnet.ops.maps_at_points import SharedPoints as SharedPoints
from opsnet.ops.maps_at_points import sample_points as sample_points
from opsnet.utils.seeding import image_number, mix_seed

OVERSAMPLE_RATIO = 3.0
"""Number of random candidates per point of the mask losses (as in PointRend and Mask2Former)."""
IMPORTANCE_SAMPLE_RATIO = 0.75
"""Fraction of the points that are the most uncertain candidates (as in PointRend and Mask2Former)."""


@dataclass(frozen=True)
class StepPoints:
    """The random points of one training step, shared by all decoder layers; (x, y) in 0..1.

    Attributes:
        matching: (B, P, 2), points for the matching of each image.
        candidates: (T, 2), candidates for each mask's most uncertain points; the same for all masks.
        random_points: (B, R, 2), used for every mask of an image regardless of uncertainty.
        count: P, points per mask in the mask losses, R of them from ``random_points``.
    """

    matching: Tensor
    candidates: Tensor
    random_points: Tensor

    @property
    def count(self) -> int:
        """P."""
        return self.matching.shape[1]

    @classmethod
    def draw(cls, count: int, seeds: StepSeeds, device: torch.device) -> StepPoints:
        """Draws ``count`` points per mask; the points of an image do not depend on the other images of the batch."""
        candidates, at_random = int(count * OVERSAMPLE_RATIO), count - int(count * IMPORTANCE_SAMPLE_RATIO)
        own = torch.stack([_uniform(count + at_random, seed, device) for seed in seeds.images])
        return cls(own[:, :count], _uniform(candidates, seeds.step, device), own[:, count:])


@dataclass(frozen=True)
class StepSeeds:
    """Seeds of a training step: one that all processes share, and one per image, (B)."""

    step: int
    images: tuple[int, ...]

    @classmethod
    def of(cls, seed: int, step: int, image_ids: Sequence[int | str]) -> StepSeeds:
        """Derived from (seed, step) and (seed, step, image id), so independent of the other images of the batch."""
        return cls(mix_seed(seed, step), tuple(mix_seed(seed, step, image_number(i)) for i in image_ids))

    @classmethod
    def fresh(cls, batch: int) -> StepSeeds:
        """Seeds drawn from torch's global generator, for a batch outside of a training."""
        step, *images = torch.randint(2**62, (1 + batch,)).tolist()
        return cls(step, tuple(images))


def _uniform(count: int, seed: int, device: torch.device) -> Tensor:
    generator = torch.Generator(device).manual_seed(seed)
    return torch.rand(count, 2, device=device, generator=generator)


@torch.no_grad()
def uncertain_points(mask_logits: Tensor, candidates: SharedPoints, count: int) -> Tensor:
    """The candidates at which each mask is most uncertain.

    Args:
        mask_logits: (S, h, w).
        candidates: T points of a single image, whose channels are the masks.
        count: P.

    Returns:
        (S, P) int64 indices into the candidates.
    """
    certainty = candidates.read(mask_logits[None])[0].abs().contiguous()
    return certainty.topk(count, dim=1, largest=False, sorted=False).indices
