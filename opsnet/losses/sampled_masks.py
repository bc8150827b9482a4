"""Matched masks and their ground truth at sampled points, shared by the mask losses (Mask2Former, section 3.3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from opsnet.losses.point_sampling import SharedPoints, StepPoints, sample_points, uncertain_points


@dataclass(frozen=True)
class SampledMasks:
    """Masks at P points each: ``logits`` (S, P), and the ground truth at the same points, ``truth`` (S, P) in 0..1."""

    logits: Tensor
    truth: Tensor


class GroundTruthAtPoints:
    """Ground truth (G, H, W) at the points of a step, sampled once for all layers.

    Args:
        points: the points of the step.
        truth: masks of all images, concatenated.
        counts: number of segments of each image.
    """

    def __init__(self, points: StepPoints, truth: Tensor, counts: Sequence[int]) -> None:
        self.points, self.candidates = points, SharedPoints(points.candidates[None])
        image = torch.repeat_interleave(torch.tensor(counts, device=truth.device))
        places = torch.cat((points.candidates.expand(len(truth), -1, -1), points.random_points[image]), dim=1)
        self._values = sample_points(truth[:, None], places)[:, 0] if len(truth) else places[..., 0]

    def sample(self, predicted: Tensor, image: Tensor, row: Tensor) -> SampledMasks:
        """Mask logits (S, h, w) at P points each; ``image`` (S,) and ``row`` (S,) of the ground truth per mask."""
        if len(predicted) == 0:
            return SampledMasks(predicted.flatten(1), predicted.detach().flatten(1))
        points, truth = self._choose(predicted, image, row)
        return SampledMasks(sample_points(predicted[:, None].float(), points)[:, 0], truth)

    def _choose(self, predicted: Tensor, image: Tensor, row: Tensor) -> tuple[Tensor, Tensor]:
        """The points (S, P, 2), and the ground truth there, (S, P)."""
        at_random = self.points.random_points[image]
        chosen = uncertain_points(predicted.detach().float(), self.candidates, self.points.count - at_random.shape[1])
        tail = torch.arange(len(self.points.candidates), self._values.shape[1], device=row.device).expand(len(row), -1)
        places = torch.cat((F.embedding(chosen, self.points.candidates), at_random), dim=1)
        return places, self._values[row].gather(1, torch.cat((chosen, tail), dim=1))
