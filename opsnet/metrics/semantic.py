"""Semantic segmentation, from panoptic maps (paper, Table 8) or semantic ones: mIoU, fwIoU, mACC and pACC.

Segments of one class count together. The arithmetic is that of detectron2's ``SemSegEvaluator``, which Mask2Former and
the papers built on it report::

    IoU(c) = |p_c and t_c| / |p_c or t_c|        Acc(c) = |p_c and t_c| / |t_c|

over the pixels of all images whose ground truth is not void. Two cases are specific to panoptic maps:

- A predicted void pixel, which detectron2's predictions do not have, is a miss of its ground-truth class.
- A ground-truth crowd region has a class, so its pixels count. Only void is ignored.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from opsnet.metrics.image_overlaps import ImageOverlaps, image_overlaps
from opsnet.metrics.panoptic_averages import IntArray
from opsnet.structures import GroundTruth, PanopticMap, Segment

SEMANTIC_RULE = (
    "mIoU and mACC are means over the classes with ground-truth pixels (detectron2 since July 2022); mIoU_occurring "
    "also counts a class that is only predicted, as 0 (mmsegmentation, detectron2 up to release 0.6); ground-truth "
    "void is ignored, predicted void is a miss, crowd counts"
)
"""To be printed with the results."""

PROPOSALS = "_proposals"
"""Suffix of metrics of semantic maps and instances that are made from proposals, as Mask2Former and FC-CLIP do."""

PROPOSALS_RULE = (
    "mIoU is that of the panoptic map, merged by class; mIoU_proposals is that of the sum over all proposals of class "
    "probability x mask probability, which Mask2Former and FC-CLIP report"
)
"""To be printed with these metrics."""


@dataclass(frozen=True)
class SemanticBlock:
    """The pixels of one image per pair of its classes, M is void; a class may occur more than once.

    With hundreds of classes the whole table of pairs is much larger than this, and takes longer than the image.

    Attributes:
        true, predicted: (R,) and (C,) int64, the classes of rows and columns.
        pixels: (R, C) int64.
    """

    true: IntArray
    predicted: IntArray
    pixels: IntArray


@dataclass(frozen=True)
class SemanticCounts:
    """Pixels per class, (M,) int64 each; of the table of all pairs of classes, the metrics need no more.

    Attributes:
        right: both true and predicted.
        true: true, whatever is predicted there, void included.
        predicted: predicted, outside ground-truth void.
    """

    right: IntArray
    true: IntArray
    predicted: IntArray

    def __add__(self, other: SemanticCounts) -> SemanticCounts:
        return SemanticCounts(*(array + other.sums[name] for name, array in self.sums.items()))

    @property
    def sums(self) -> dict[str, IntArray]:
        """See :class:`opsnet.metrics.merging.Mergeable`."""
        return {"right": self.right, "true": self.true, "predicted": self.predicted}

    @property
    def records(self) -> dict[str, Any]:
        """None."""
        return {}

    def add(self, block: SemanticBlock) -> None:
        """Adds an image's pixels to these counts, in place."""
        void = len(self.true)
        rows, columns = block.true < void, block.predicted < void
        true, predicted, pixels = block.true[rows], block.predicted[columns], block.pixels[rows]
        np.add.at(self.true, true, pixels.sum(axis=1))
        np.add.at(self.predicted, predicted, pixels[:, columns].sum(axis=0))
        same = np.nonzero(true[:, None] == predicted[None, :])
        np.add.at(self.right, true[same[0]], pixels[:, columns][same])

    @classmethod
    def zeros(cls, num_classes: int) -> SemanticCounts:
        """The counts of zero images."""
        return cls(*(np.zeros(num_classes, np.int64) for _ in range(3)))


@dataclass(frozen=True)
class ClassIou:
    """One class.

    Attributes:
        label: index into the vocabulary.
        iou: percent; nan for a class that occurs neither in the ground truth nor in the prediction.
        acc: percent of its ground-truth pixels that are predicted correctly; nan without ground-truth pixels.
        true_pixels, predicted_pixels: numbers of pixels outside ground-truth void.
    """

    label: int
    iou: float
    acc: float
    true_pixels: int
    predicted_pixels: int


@dataclass(frozen=True)
class SemanticResult:
    """Averages in percent, nan if there is no class to average; ``SEMANTIC_RULE`` says which classes they include.

    Attributes:
        miou: mean IoU of the classes with ground-truth pixels.
        miou_occurring: mean IoU of the classes with ground-truth or predicted pixels.
        fwiou: IoU weighted by each class's share of the ground-truth pixels.
        macc: mean accuracy of the classes with ground-truth pixels.
        pacc: share of the ground-truth pixels that are predicted correctly.
        n: number of classes with ground-truth pixels.
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
        """``mIoU``, ``fwIoU``, ``mACC``, ``pACC``, ``mIoU_occurring``; empty if no class has ground-truth pixels."""
        if self.n == 0:
            return {}
        values = (self.miou, self.fwiou, self.macc, self.pacc, self.miou_occurring)
        return dict(zip(("mIoU", "fwIoU", "mACC", "pACC", "mIoU_occurring"), values))


def semantic_block(overlaps: ImageOverlaps) -> SemanticBlock:
    """Pixels per pair of segments in one image, by class."""
    void = overlaps.num_classes
    true, predicted = (np.concatenate(([void], table.labels)) for table in (overlaps.truth, overlaps.prediction))
    return SemanticBlock(true, predicted, overlaps.pixels)


def count_semantic(overlaps: ImageOverlaps) -> SemanticCounts:
    """Pixels per class in one image."""
    counts = SemanticCounts.zeros(overlaps.num_classes)
    counts.add(semantic_block(overlaps))
    return counts


def semantic_map_block(labels: Tensor, truth: GroundTruth, num_classes: int) -> SemanticBlock:
    """Pixels per pair of classes in one image, whose prediction is a semantic map.

    Args:
        labels: (H, W) int64 in 0..M-1, or -1 for void.
        truth: ids (H, W).
        num_classes: M.

    Raises:
        ValueError: the maps differ in size, the ground truth's map and segments disagree, or a label is out of range.
    """
    present = [label for label in labels.unique().tolist() if label >= 0]
    prediction = PanopticMap(labels + 1, tuple(Segment(label + 1, label, False) for label in present))
    return semantic_block(image_overlaps(prediction, truth, num_classes))


def summarise_semantic(counts: SemanticCounts) -> SemanticResult:
    """Averages the summed counts of all images, by ``SEMANTIC_RULE``."""
    right, true, predicted = counts.right, counts.true, counts.predicted
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
    """Mean IoU in percent over the chosen classes (M flags) with ground-truth pixels; nan if none has any.

    Raises:
        ValueError: the numbers of flags and classes differ.
    """
    rows = zip(result.per_class, chosen, strict=True)
    return _mean(np.array([c.iou for c, wanted in rows if wanted and c.true_pixels]))
