"""Mask classification: are the ground-truth masks named rightly? Recognition alone, whatever masks a network finds.

The share of ground-truth segments whose class is the best of the M names (top 1), or among the best five (top 5). It is
reported of CLIP on masks by OVSeg (Liang et al. 2023) and others. Equal logits are ranked in the order of the
vocabulary, so that a recognizer without an opinion is not right by chance of a rule.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from opsnet.metrics.merging import Records
from opsnet.metrics.panoptic_averages import IntArray
from opsnet.structures import GroundTruth, Segment

MASK_CLASSIFICATION_RULE = (
    "the classes of the ground-truth masks, pooled in place of the network's own: top 1 and top 5 of all segments "
    "without crowd (Acc), and the mean over the classes in the ground truth (mAcc)"
)
"""To be printed with the results."""

TOPS = (1, 5)


def classified_segments(truth: GroundTruth) -> tuple[list[Segment], Tensor]:
    """The segments that count, those without crowd that have a pixel, and their masks (G, H, W) bool."""
    present = set(truth.ids.unique().tolist())
    segments = [s for s in truth.segments if not s.is_crowd and s.id in present]
    ids = torch.tensor([s.id for s in segments], dtype=truth.ids.dtype, device=truth.ids.device)
    return segments, truth.ids == ids[:, None, None]


class MaskClassification:
    """Counts of all images so far.

    Args:
        num_classes: M.
    """

    def __init__(self, num_classes: int) -> None:
        self.sums: dict[str, IntArray] = {key: np.zeros(num_classes, np.int64) for key in ("segments", "top1", "top5")}
        self.records: dict[str, Records] = {}

    def add(self, logits: Tensor, labels: Tensor) -> None:
        """Adds the G segments of an image.

        Args:
            logits: (G, M).
            labels: (G,) int64, their classes.
        """
        own = logits.gather(1, labels[:, None])
        before = torch.arange(logits.shape[1], device=logits.device) < labels[:, None]
        places = ((logits > own) | ((logits == own) & before)).sum(dim=1).cpu().numpy()
        true = labels.cpu().numpy()
        np.add.at(self.sums["segments"], true, 1)
        for top in TOPS:
            np.add.at(self.sums[f"top{top}"], true[places < top], 1)

    def class_accuracies(self, top: int) -> np.ndarray:
        """Accuracy of each class in percent, (M,); nan for a class without a segment."""
        counts = self.sums["segments"]
        return np.where(counts > 0, 100 * self.sums[f"top{top}"] / np.maximum(counts, 1), np.nan)

    def as_dict(self) -> dict[str, float]:
        """``Acc1_masks``, ``Acc5_masks``, ``mAcc1_masks`` and ``mAcc5_masks`` in percent; empty without a segment."""
        total = int(self.sums["segments"].sum())
        if not total:
            return {}
        over_all = {f"Acc{top}_masks": 100 * int(self.sums[f"top{top}"].sum()) / total for top in TOPS}
        return {**over_all, **{f"mAcc{top}_masks": float(np.nanmean(self.class_accuracies(top))) for top in TOPS}}
