"""Mask Filtering (paper, section 3.4): which proposals to keep, and with which score they compete for pixels."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

KINDS = ("cls", "iou", "cls_iou")


class Filtered(NamedTuple):
    """Proposals after Mask Filtering; B images, or any other leading dimensions.

    Attributes:
        scores: (B, K) in 0..1, compared with the threshold and reported with the segments.
        labels: (B, K), the best name of each.
        keep: (B, K) bool.
        merge_scores: (B, K) in 0..1, with which kept proposals compete for pixels in the merge.
    """

    scores: Tensor
    labels: Tensor
    keep: Tensor
    merge_scores: Tensor


class MaskFiltering(nn.Module):
    """Scores proposals and drops those below the threshold.

    Args:
        kind: the score: "cls" (class score), "iou" (predicted IoU) or "cls_iou" (their product), as in Table 7.
        threshold: kept proposals must have a higher score.
        compete: the kind of score with which kept proposals compete for pixels; ``None`` uses ``kind``, as in the
            paper. With "cls", a small mask with a low predicted IoU is not covered by the large one behind it.
        drop_no_object: drop proposals whose no-object score exceeds that of every name, as in Mask2Former; ``None``:
            only with "cls".

    Raises:
        ValueError: the kind is unknown, or the threshold is outside 0..1.
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
        if not 0 <= threshold <= 1:  # nan too; a percentage would drop everything without a word
            raise ValueError(f"filtering.threshold must lie in 0..1, got {threshold}")
        self.kind, self.threshold, self.compete = kind, threshold, compete or kind
        self.drop_no_object = kind == "cls" if drop_no_object is None else drop_no_object

    def forward(self, logits: Tensor, no_object: Tensor, iou: Tensor) -> Filtered:
        """Computes labels, scores and which proposals to keep.

        Args:
            logits: (B, K, M).
            no_object: (B, K).
            iou: (B, K), predicted IoU in 0..1.
        """
        best, labels = logits.max(dim=-1)
        # The class score includes no-object in the softmax, so duplicates classified as no-object score low.
        rivals = torch.cat((logits, no_object[..., None]), dim=-1)
        class_score = (best - rivals.logsumexp(-1)).exp()
        by_kind = {"cls": class_score, "iou": iou, "cls_iou": class_score * iou}
        scores = by_kind[self.kind]
        keep = scores > self.threshold
        if self.drop_no_object:
            keep = keep & (best > no_object)
        return Filtered(scores, labels, keep, by_kind[self.compete])

    def settings(self) -> dict[str, str | float | bool]:
        """The constructor arguments that rebuild it."""
        return {
            "kind": self.kind,
            "threshold": float(self.threshold),
            "compete": self.compete,
            "drop_no_object": self.drop_no_object,
        }
