"""Mask Filtering (paper, section 3.4): which proposals are worth keeping."""

from __future__ import annotations

import torch
from torch import Tensor, nn

KINDS = ("cls", "iou", "cls_iou")


class MaskFiltering(nn.Module):
    """Scores proposals and drops the poor ones.

    Args:
        kind: "cls" (class score, and dropped where no-object beats every name), "iou" (predicted IoU) or "cls_iou"
            (class score times predicted IoU), as in Table 7.
        threshold: proposals must score higher.

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
        # The learned no-object embedding is a rival in the class score, so duplicates that it claims score low.
        rivals = torch.cat((logits, no_object[..., None]), dim=-1)
        class_score = (best - rivals.logsumexp(-1)).exp()
        if self.kind == "cls":
            scores = class_score * (best > no_object)
        elif self.kind == "iou":
            scores = iou
        else:
            scores = class_score * iou
        return scores, labels, scores > self.threshold
