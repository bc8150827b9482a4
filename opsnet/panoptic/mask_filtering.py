"""Mask Filtering (paper, section 3.4): which proposals are worth keeping."""

from __future__ import annotations

import torch
from torch import Tensor, nn

KINDS = ("cls", "iou", "cls_iou")


class MaskFiltering(nn.Module):
    """Scores proposals and drops the poor ones.

    Args:
        kind: "cls" (class score with the learned no-object logit as a rival), "iou" (predicted IoU) or "cls_iou"
            (class score without no-object, times predicted IoU), as in Table 7.
        threshold: proposals that score lower are dropped.

    Raises:
        ValueError: an unknown kind.
    """

    def __init__(self, *, kind: str = "cls_iou", threshold: float = 0.1) -> None:
        super().__init__()
        if kind not in KINDS:
            raise ValueError(f"filtering.kind must be one of {', '.join(KINDS)}, got '{kind}'")
        self.kind, self.threshold = kind, threshold

    def forward(self, logits: Tensor, no_object: Tensor, iou: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Names and ranks.

        Args:
            logits: (B, K, M).
            no_object: (B, K).
            iou: (B, K), predicted, in 0..1.

        Returns:
            Scores (B, K) in 0..1, labels (B, K), and which to keep, bool (B, K).
        """
        best, labels = logits.max(dim=-1)
        if self.kind == "cls":
            with_void = torch.cat((logits, no_object[..., None]), dim=-1)
            scores = (best - with_void.logsumexp(-1)).exp() * (best > no_object)
        elif self.kind == "iou":
            scores = iou
        else:
            scores = (best - logits.logsumexp(-1)).exp() * iou
        return scores, labels, scores > self.threshold
