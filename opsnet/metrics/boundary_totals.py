"""Boundary PQ and the boundary IoU of classes, accumulated over images (see :mod:`opsnet.metrics.boundary`)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from opsnet.metrics.boundary import BoundaryOverlaps, boundary_overlaps
from opsnet.metrics.image_overlaps import ImageOverlaps, segment_table
from opsnet.metrics.merging import PanopticTotals, Records
from opsnet.metrics.panoptic_arithmetic import SegmentTable, Side, count_segments, dense_index
from opsnet.metrics.panoptic_averages import IntArray, PanopticScores, summarise
from opsnet.structures import GroundTruth, PanopticMap

_PIXELS = ("shared", "truth", "prediction")


class BoundaryTotals:
    """Counts of all images so far.

    ``mBIoU`` is to Boundary IoU what ``mIoU`` is to IoU: the boundary pixels of each class, all its segments together,
    are added up over the images, and the mean is over the classes in the ground truth.

    Args:
        num_classes: C.
    """

    def __init__(self, num_classes: int) -> None:
        self._segments = PanopticTotals(num_classes)
        self._pixels = {key: np.zeros(num_classes, np.int64) for key in _PIXELS}
        self.records: dict[str, Records] = {}

    @property
    def sums(self) -> Mapping[str, IntArray]:
        """See :class:`opsnet.metrics.merging.Mergeable`."""
        return {**self._segments.sums, **self._pixels}

    def add(self, prediction: PanopticMap, truth: GroundTruth, overlaps: ImageOverlaps) -> None:
        """Adds one image.

        Args:
            prediction: ids (H, W) and K segments.
            truth: ids (H, W) and G segments.
            overlaps: of both, with the segments in the same order.
        """
        classes = overlaps.num_classes
        true_ids, predicted_ids = (one.ids.detach().cpu().numpy() for one in (truth, prediction))
        table = segment_table(prediction.segments, "prediction", classes)
        boundaries = boundary_overlaps(true_ids, predicted_ids, overlaps.truth, table)
        self._segments.add(count_segments(overlaps.pixels, overlaps.truth, table, classes, boundaries.ious()))
        true, predicted = _class_map(true_ids, overlaps.truth), _class_map(predicted_ids, table)
        present = np.union1d(overlaps.truth.labels, table.labels)
        tables = _class_table(present, "truth"), _class_table(present, "prediction")
        self._add_pixels(present, boundary_overlaps(true, predicted, *tables))

    def _add_pixels(self, labels: IntArray, found: BoundaryOverlaps) -> None:
        for key, pixels in zip(_PIXELS, (np.diagonal(found.shared), found.truth, found.prediction), strict=True):
            self._pixels[key][labels] += pixels

    def scores(self, is_thing: Sequence[bool]) -> PanopticScores:
        """Boundary PQ and its parts, averaged and per class (C flags)."""
        return summarise(self._segments.counts(), is_thing)

    def class_ious(self) -> npt.NDArray[np.float64]:
        """Boundary IoU of each class in percent, (C,); nan for a class that is not in the ground truth."""
        shared, truth, prediction = (self._pixels[key] for key in _PIXELS)
        return np.where(truth > 0, 100 * shared / np.maximum(truth + prediction - shared, 1), np.nan)

    def as_dict(self, is_thing: Sequence[bool]) -> dict[str, float]:
        """``BPQ``, ``BPQth``, ``BPQst``, ``BSQ``, ``BRQ``; ``mBIoU`` if a class is in the ground truth; percent."""
        found = {f"B{measure}": value for measure, value in self.scores(is_thing).as_dict().items()}
        ious = self.class_ious()
        mean = float(np.mean(ious[~np.isnan(ious)])) if (~np.isnan(ious)).any() else math.nan
        return found if math.isnan(mean) else {**found, "mBIoU": mean}


def _class_map(ids: npt.NDArray[Any], table: SegmentTable) -> IntArray:
    """The class of each pixel plus 1, 0 for void, (H, W)."""
    classes: IntArray = np.append(0, table.labels + 1)[dense_index(ids, table)]
    return classes


def _class_table(labels: IntArray, side: Side) -> SegmentTable:
    """One segment per class, as :func:`_class_map` numbers them."""
    return SegmentTable(side, labels + 1, labels, np.zeros(labels.size, bool))
