"""Matched masks and their ground truth at sampled points, which the mask losses share (Mask2Former, section 3.3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from opsnet.losses.point_sampling import SharedPoints, StepPoints, sample_points, undecided_points


@dataclass(frozen=True)
class SampledMasks:
    """Masks at P points each: ``logits`` (S, P), and the ground truth there, ``truth`` (S, P) in 0..1."""

    logits: Tensor
    truth: Tensor


class TruthAtPoints:
    """Ground truth (G, H, W) at the points of a step, read once for all layers.

    Args:
        points: of the step.
        truth: segments of all images, one after another.
        counts: segments of each image.
    """

    def __init__(self, points: StepPoints, truth: Tensor, counts: Sequence[int]) -> None:
        self.points, self.tried = points, SharedPoints(points.tried[None])
        image = torch.repeat_interleave(torch.tensor(counts, device=truth.device))
        places = torch.cat((points.tried.expand(len(truth), -1, -1), points.rest[image]), dim=1)
        self._values = sample_points(truth[:, None], places)[:, 0] if len(truth) else places[..., 0]

    def sample(self, predicted: Tensor, image: Tensor, row: Tensor) -> SampledMasks:
        """Mask logits (S, h, w) at P points each; of ``image`` (S,) and of ``row`` (S,) of the truth."""
        if len(predicted) == 0:
            return SampledMasks(predicted.flatten(1), predicted.detach().flatten(1))
        points, truth = self._near(predicted, image, row)
        return SampledMasks(sample_points(predicted[:, None].float(), points)[:, 0], truth)

    def _near(self, predicted: Tensor, image: Tensor, row: Tensor) -> tuple[Tensor, Tensor]:
        """The points (S, P, 2), and the truth there (S, P)."""
        rest = self.points.rest[image]
        chosen = undecided_points(predicted.detach().float(), self.tried, self.points.count - rest.shape[1])
        tail = torch.arange(len(self.points.tried), self._values.shape[1], device=row.device).expand(len(row), -1)
        places = torch.cat((F.embedding(chosen, self.points.tried), rest), dim=1)
        return places, self._values[row].gather(1, torch.cat((chosen, tail), dim=1))
