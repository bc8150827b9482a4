"""Binary cross-entropy of the matched masks at sampled points (Mask2Former, section 3.3)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from opsnet.losses.base import SegmentLoss
from opsnet.losses.predictions import MatchedPredictions
from opsnet.losses.sampled_masks import SampledMasks


class MaskBCE(SegmentLoss):
    """Mean over points and over the segments of all ranks, per decoder layer. The weight is 5 in Mask2Former."""

    def forward(self, context: MatchedPredictions) -> Tensor:
        """One value per decoder layer, (L,)."""
        total = context.segments_per_rank
        return torch.stack([mask_bce(masks).sum() / total for masks in context.sampled_masks])


def mask_bce(masks: SampledMasks) -> Tensor:
    """Binary cross-entropy of each mask, (S,), averaged over its points."""
    return F.binary_cross_entropy_with_logits(masks.logits, masks.truth, reduction="none").mean(1)
