"""Cross-entropy of the cosine logits over the training names and no-object (paper, section 3.1; Mask2Former)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from opsnet.losses.base import SegmentLoss
from opsnet.losses.predictions import MatchedPredictions
from opsnet.losses.ranks import mean_over_ranks

NORMALIZATIONS = ("rank", "global")


class CrossEntropy(SegmentLoss):
    """A weighted mean over the proposals, per decoder layer.

    Args:
        weight: 2 in Mask2Former.
        no_object_weight: weight of proposals without a match (0.1 in Mask2Former).
        normalization: what the mean is taken over. "rank": the proposals of each rank; DDP then averages the gradients,
            so each proposal of a rank with few segments counts more, as in Mask2Former. "global": the proposals of all
            ranks, so that the result does not depend on the number of processes.

    Raises:
        ValueError: ``normalization`` is unknown.
    """

    def __init__(self, *, weight: float, no_object_weight: float = 0.1, normalization: str = "rank") -> None:
        super().__init__(weight=weight)
        if normalization not in NORMALIZATIONS:
            raise ValueError(f"normalization must be 'rank' or 'global', got {normalization!r}")
        self.no_object_weight, self.normalization = no_object_weight, normalization

    def forward(self, context: MatchedPredictions) -> Tensor:
        """One value per decoder layer, (L,)."""
        total = self._total_weight(context)
        sums = [
            self._sum(layer.logits, image, proposal, context.labels[row])
            for layer, (image, proposal, row) in zip(context.layers, context.matches, strict=True)
        ]
        return torch.stack([x / total for x in sums])

    def _total_weight(self, context: MatchedPredictions) -> float | Tensor:
        """Sum of the weights of all proposals."""
        unmatched = len(context.pixels) * context.proposals_per_image - sum(context.matches_per_image)
        total = context.named_matches + self.no_object_weight * unmatched
        return total if self.normalization == "rank" else mean_over_ranks((total,), context.pixels.device)[0]

    def _sum(self, logits: Tensor, image: Tensor, proposal: Tensor, label: Tensor) -> Tensor:
        """The weighted sum over all proposals, scalar."""
        no_object = logits.shape[-1] - 1
        target = torch.full(logits.shape[:2], no_object, dtype=torch.int64, device=logits.device)
        target[image, proposal] = label
        weight = torch.ones(no_object + 1, device=logits.device, dtype=logits.dtype)
        weight[no_object:].fill_(self.no_object_weight)  # an assignment would wait for the GPU
        return F.cross_entropy(logits.flatten(0, 1), target.flatten(), weight, reduction="sum")
