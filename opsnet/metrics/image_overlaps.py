"""Pixel overlaps of one image's prediction and ground truth, counted once for all metrics.

Only ``image_overlaps`` reads the maps' pixels; ``panoptic_arithmetic.count_segments``, ``semantic.count_semantic`` and
``confusions.count_confusions`` work on its table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from opsnet.metrics.panoptic_arithmetic import SegmentTable, Side, overlap_table
from opsnet.metrics.panoptic_averages import IntArray
from opsnet.structures import GroundTruth, PanopticMap, Segment


@dataclass(frozen=True)
class ImageOverlaps:
    """Pixels shared by the segments of one image's ground truth and prediction.

    Attributes:
        pixels: (1 + G, 1 + K) int64, as returned by ``overlap_table``; row and column 0 are void.
        truth: the G ground-truth segments, crowd included.
        prediction: the K predicted segments.
        num_classes: M.
    """

    pixels: IntArray
    truth: SegmentTable
    prediction: SegmentTable
    num_classes: int

    def ious(self) -> npt.NDArray[np.float64]:
        """IoUs (G, K) in 0..1, without the prediction's pixels on void, as in PQ.

        At most one pair per ground-truth segment, and per predicted segment, exceeds one half.
        """
        shared, on_void = self.pixels[1:, 1:], self.pixels[0, 1:]
        areas, truth_areas = self.pixels.sum(axis=0)[1:], self.truth.areas_of(self.pixels.sum(axis=1)[1:])
        unions = (areas - on_void)[None, :] + truth_areas[:, None] - shared
        ious: npt.NDArray[np.float64] = shared / np.maximum(unions, 1)  # where the union is 0, shared is 0 too
        return ious


def image_overlaps(prediction: PanopticMap, truth: GroundTruth, num_classes: int) -> ImageOverlaps:
    """Counts the pixels shared by the segments of two maps.

    Args:
        prediction: ids (H, W) and segments with labels 0..M-1.
        truth: ids (H, W) of the same size; crowd included.
        num_classes: M.

    Raises:
        ValueError: the maps differ in size, a map holds an id that its segments do not list, or a label is out of
            range.
    """
    truth_table = segment_table(truth.segments, "truth", num_classes)
    prediction_table = segment_table(prediction.segments, "prediction", num_classes)
    truth_ids, prediction_ids = (one.ids.detach().cpu().numpy() for one in (truth, prediction))
    pixels = overlap_table(truth_ids, prediction_ids, truth_table, prediction_table)
    return ImageOverlaps(pixels, truth_table, prediction_table, num_classes)


def segment_table(segments: Sequence[Segment], side: Side, num_classes: int) -> SegmentTable:
    """A map's segments as a table of columns.

    Raises:
        ValueError: a label is out of range.
    """
    for segment in segments:
        if not 0 <= segment.label < num_classes:
            raise ValueError(
                f"segment {segment.id} of the {side} has label {segment.label}, but there are {num_classes} classes "
                f"(0..{num_classes - 1}): give both the same vocabulary"
            )
    rows = [(s.id, s.label, s.is_crowd, s.covered) for s in segments]
    ids, labels, crowd, covered = np.array(rows, dtype=np.int64).reshape(-1, 4).T
    return SegmentTable(side, ids, labels, crowd == 1, covered=covered)
