"""Mask Filtering (paper, section 3.4): which proposals to keep, and by which score they compete for pixels."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

KINDS = ("cls", "iou", "cls_iou")


class Filtered(NamedTuple):
    """Proposals after Mask Filtering; B images, or any other leading dimensions.

    Attributes:
        scores: (B, K) in 0..1, by which proposals are kept, and which their segments report.
        labels: (B, K), the best name of each.
        keep: (B, K) bool.
        merge_scores: (B, K) in 0..1, by which those that are kept compete for pixels in the merge.
    """

    scores: Tensor
    labels: Tensor
    keep: Tensor
    merge_scores: Tensor


class MaskFiltering(nn.Module):
    """Scores proposals and drops the poor ones.

    Args:
        kind: the score: "cls" (class score), "iou" (predicted IoU) or "cls_iou" (their product), as in Table 7.
        threshold: proposals must score higher.
        compete: the score by which kept proposals compete for pixels, of the same kinds; ``None`` takes ``kind``, as
            the paper does. With "cls", a small mask of low predicted IoU is not covered by the large one behind it.
        drop_no_object: drop proposals for which no-object beats every name, as Mask2Former does; ``None``: with "cls"
            only.

    Raises:
        ValueError: an unknown kind.
    """

    def __init__(
        self,
        *,
        kind: str = "cls_iou",
        threshold: float = 0.1,
        compete: str | None = None,
        drop_no_object: bool | None = None,
    ) -> None:
        super().__init__()
        for key, value in (("kind", kind), ("compete", compete or kind)):
            if value not in KINDS:
                raise ValueError(f"filtering.{key} must be one of {', '.join(KINDS)}, got '{value}'")
        self.kind, self.threshold, self.compete = kind, threshold, compete or kind
        self.drop_no_object = kind == "cls" if drop_no_object is None else drop_no_object

    def forward(self, logits: Tensor, no_object: Tensor, iou: Tensor) -> Filtered:
        """Labels, scores and which proposals to keep.

        Args:
            logits: (B, K, M).
            no_object: (B, K).
            iou: (B, K), predicted, in 0..1.
        """
        best, labels = logits.max(dim=-1)
        # The learned no-object embedding is a rival in the class score, so duplicates that it claims score low.
        rivals = torch.cat((logits, no_object[..., None]), dim=-1)
        class_score = (best - rivals.logsumexp(-1)).exp()
        by_kind = {"cls": class_score, "iou": iou, "cls_iou": class_score * iou}
        scores = by_kind[self.kind]
        keep = scores > self.threshold
        if self.drop_no_object:
            keep = keep & (best > no_object)
        return Filtered(scores, labels, keep, by_kind[self.compete])

    def settings(self) -> dict[str, str | float | bool]:
        """The arguments that build it again."""
        return {
            "kind": self.kind,
            "threshold": float(self.threshold),
            "compete": self.compete,
            "drop_no_object": self.drop_no_object,
        }
