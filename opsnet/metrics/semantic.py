"""Semantic segmentation from panoptic maps (paper, Table 8): mIoU, fwIoU, mACC and pACC.

Segments of one class count together. The arithmetic is that of detectron2's ``SemSegEvaluator``, which Mask2Former and
the papers built on it report::

    IoU(c) = |p_c and t_c| / |p_c or t_c|        Acc(c) = |p_c and t_c| / |t_c|

over the pixels of all images whose truth is not void. Two things are decided here:

- A panoptic prediction has void pixels, which detectron2's has not: such a pixel is a miss of its true class.
- A crowd region of the truth has a class, so its pixels count. Only void does not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from opsnet.metrics.image_overlaps import ImageOverlaps
from opsnet.metrics.panoptic_averages import IntArray

SEMANTIC_RULE = (
    "mIoU and mACC are means over the classes with true pixels (detectron2); mIoU_occurring also counts a class that "
    "is only predicted, as 0 (mmsegmentation); void truth is ignored, predicted void is a miss, crowd counts"
)
"""To print beside the figures."""


@dataclass(frozen=True)
class SemanticCounts:
    """Pixels of each pair of classes, (M + 1, M + 1) int64: rows are the truth, columns the prediction, M is void."""

    pixels: IntArray

    def __add__(self, other: SemanticCounts) -> SemanticCounts:
        return SemanticCounts(self.pixels + other.pixels)

    @classmethod
    def zeros(cls, num_classes: int) -> SemanticCounts:
        """The counts of no image."""
        return cls(np.zeros((num_classes + 1, num_classes + 1), np.int64))


@dataclass(frozen=True)
class ClassIou:
    """One class.

    Attributes:
        label: index into the vocabulary.
        iou: percent; nan for a class that occurs neither in the truth nor in the prediction.
        acc: percent of its true pixels that are predicted as it; nan without true pixels.
        true_pixels, predicted_pixels: how many outside the truth's void.
    """

    label: int
    iou: float
    acc: float
    true_pixels: int
    predicted_pixels: int


@dataclass(frozen=True)
class SemanticResult:
    """Averages in percent, nan where there is no class to average; ``SEMANTIC_RULE`` says which classes they count.

    Attributes:
        miou: mean IoU of the classes with true pixels.
        miou_occurring: mean IoU of the classes with true or predicted pixels.
        fwiou: IoU weighted by each class's share of the true pixels.
        macc: mean accuracy of the classes with true pixels.
        pacc: share of the true pixels that are right.
        n: how many classes have true pixels.
        per_class: all M classes.
    """

    miou: float
    miou_occurring: float
    fwiou: float
    macc: float
    pacc: float
    n: int
    per_class: tuple[ClassIou, ...]

    def as_dict(self) -> dict[str, float]:
        """``mIoU``, ``fwIoU``, ``mACC``, ``pACC``, ``mIoU_occurring``; empty where no class has true pixels."""
        if self.n == 0:
            return {}
        values = (self.miou, self.fwiou, self.macc, self.pacc, self.miou_occurring)
        return dict(zip(("mIoU", "fwIoU", "mACC", "pACC", "mIoU_occurring"), values))


def count_semantic(overlaps: ImageOverlaps) -> SemanticCounts:
    """Pixels of each pair of classes in one image."""
    void = overlaps.num_classes
    rows = np.concatenate(([void], overlaps.truth.labels))
    columns = np.concatenate(([void], overlaps.prediction.labels))
    counts = SemanticCounts.zeros(void)
    # Not bincount: with hundreds of classes its floats, nearly all of them 0, cost more than the image's pixels.
    np.add.at(counts.pixels, (rows[:, None], columns[None, :]), overlaps.pixels)
    return counts


def summarise_semantic(counts: SemanticCounts) -> SemanticResult:
    """Averages the counts of all images together, by ``SEMANTIC_RULE``."""
    known = counts.pixels[:-1]  # pixels whose truth is not void
    right, true, predicted = np.diagonal(known), known.sum(axis=1), known.sum(axis=0)[:-1]
    union = true + predicted - right
    iou = np.where(union > 0, 100 * right / np.maximum(union, 1), np.nan)
    acc = np.where(true > 0, 100 * right / np.maximum(true, 1), np.nan)
    has_truth, share = true > 0, true / max(int(true.sum()), 1)
    rows = zip(iou.tolist(), acc.tolist(), true.tolist(), predicted.tolist())
    return SemanticResult(
        miou=_mean(iou[has_truth]),
        miou_occurring=_mean(iou[union > 0]),
        fwiou=float((iou[has_truth] * share[has_truth]).sum()) if has_truth.any() else math.nan,
        macc=_mean(acc[has_truth]),
        pacc=float(100 * right.sum() / true.sum()) if has_truth.any() else math.nan,
        n=int(has_truth.sum()),
        per_class=tuple(ClassIou(label, *row) for label, row in enumerate(rows)),
    )


def _mean(values: npt.NDArray[np.float64]) -> float:
    return float(values.mean()) if values.size else math.nan


def mean_iou(result: SemanticResult, chosen: Sequence[bool]) -> float:
    """Mean IoU in percent of those of the chosen classes (M flags) that have true pixels; nan where none has.

    Raises:
        ValueError: another number of flags than classes.
    """
    rows = zip(result.per_class, chosen, strict=True)
    return _mean(np.array([c.iou for c, wanted in rows if wanted and c.true_pixels]))
