"""Dice loss of the matched masks at sampled points (Mask2Former, section 3.3)."""

from __future__ import annotations

import torch
from torch import Tensor

from opsnet.losses.base import SegmentLoss
from opsnet.losses.predictions import MatchedPredictions
from opsnet.losses.sampled_masks import SampledMasks


class Dice(SegmentLoss):
    """Mean over the segments of all ranks, per decoder layer. The weight is 5 in Mask2Former."""

    def forward(self, context: MatchedPredictions) -> Tensor:
        """One value per decoder layer, (L,)."""
        total = context.segments_per_rank
        return torch.stack([dice(masks).sum() / total for masks in context.sampled_masks])


def dice(masks: SampledMasks) -> Tensor:
    """``1 - (2 |A B| + 1) / (|A| + |B| + 1)`` of each mask, (S,); |A| is the sum of its probabilities at the points."""
    inside, truth = masks.logits.sigmoid(), masks.truth
    return 1 - (2 * (inside * truth).sum(1) + 1) / (inside.sum(1) + truth.sum(1) + 1)
