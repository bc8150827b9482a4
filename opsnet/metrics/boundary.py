"""Boundary IoU and Boundary PQ (Cheng et al., "Boundary IoU: Improving Object-Centric Image Segmentation Evaluation",
CVPR 2021, sections 4 and 6.2), as pure functions of numpy arrays.

The boundary of a segment is those of its pixels whose distance to the segment's outside is at most ``d``: 2% of the
image's diagonal, measured along the longer of the two axes (a square window). What lies beyond the image is outside::

    Boundary IoU(p, g) = |p_d and g_d| / |p_d or g_d|
    Boundary PQ: PQ with min(IoU, Boundary IoU) in place of IoU, for the match and for SQ

As for IoU in PQ, the prediction's pixels on void are left out of the union, and segments that are predicted on void or
crowd are ignored by the rules of PQ. The published code gives inner pixels the number of the highest category plus one;
where that is the id of a segment too, its counts differ from ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from opsnet.metrics.panoptic_arithmetic import SegmentTable, dense_index
from opsnet.metrics.panoptic_averages import IntArray

BOUNDARY_RULE = (
    "BPQ, BSQ and BRQ are PQ, SQ and RQ with min(IoU, Boundary IoU) in place of IoU; the boundary is 2% of the image's "
    "diagonal wide, on the inner side of a segment (Cheng et al. 2021)"
)
"""To be printed with the results."""

DILATION_RATIO = 0.02


def boundary_width(height: int, width: int, ratio: float = DILATION_RATIO) -> int:
    """Width in pixels of the boundary in an image of this size, at least 1."""
    return max(1, round(ratio * (height**2 + width**2) ** 0.5))


def inner_boundary(ids: npt.NDArray[Any], width: int) -> npt.NDArray[np.bool_]:
    """The pixels on the boundary of their segment, (H, W) bool.

    A pixel is inside if the square of 2 ``width`` + 1 pixels around it lies in the image and has one id. That is the
    case if the pixel's run has this length in its row, and the rows above and below have the same id and such a run.
    All segments are found in two passes of the map, whatever their number.

    Args:
        ids: (H, W), any integers; equal ones are one segment.
        width: in pixels.
    """
    in_row = _is_inside_run(ids, width, axis=1)
    in_column = _is_inside_run(np.where(in_row, ids, np.iinfo(ids.dtype).max), width, axis=0)
    return ~(in_row & in_column)


def _is_inside_run(values: npt.NDArray[Any], width: int, axis: int) -> npt.NDArray[np.bool_]:
    """Whether the ``width`` pixels before and behind each pixel exist and have its value, along an axis."""
    length = values.shape[axis]
    places = np.arange(length, dtype=np.int32)[:, None] if axis == 0 else np.arange(length, dtype=np.int32)[None]
    changes = np.diff(values, axis=axis) != 0
    edge = np.ones((1, values.shape[1]) if axis == 0 else (values.shape[0], 1), dtype=bool)
    first = np.maximum.accumulate(np.where(np.concatenate((edge, changes), axis), places, 0), axis)
    ends = np.where(np.concatenate((changes, edge), axis), places, length)
    last = np.flip(np.minimum.accumulate(np.flip(ends, axis), axis), axis)
    inside: npt.NDArray[np.bool_] = (places - first >= width) & (last - places >= width)
    return inside


@dataclass(frozen=True)
class BoundaryOverlaps:
    """Boundary pixels shared by the segments of one image's ground truth and prediction.

    Attributes:
        shared: (G, K) int64 pixels on the boundaries of both.
        truth: (G,) boundary pixels of the ground-truth segments.
        prediction: (K,) boundary pixels of the predicted segments outside void.
    """

    shared: IntArray
    truth: IntArray
    prediction: IntArray

    def ious(self) -> npt.NDArray[np.float64]:
        """Boundary IoUs (G, K) in 0..1."""
        unions = self.truth[:, None] + self.prediction[None] - self.shared
        ious: npt.NDArray[np.float64] = self.shared / np.maximum(unions, 1)  # where the union is 0, shared is 0 too
        return ious


def boundary_overlaps(
    truth_ids: npt.NDArray[Any], prediction_ids: npt.NDArray[Any], truth: SegmentTable, prediction: SegmentTable,
    ratio: float = DILATION_RATIO,
) -> BoundaryOverlaps:  # fmt: skip
    """Counts the boundary pixels of each pair of segments.

    Args:
        truth_ids: (H, W) integer id map, 0 = void.
        prediction_ids: (H, W), likewise.
        truth: the G ground-truth segments.
        prediction: the K predicted segments.
        ratio: width of the boundary by the image's diagonal.

    Raises:
        UnlistedSegmentError: a map holds an id that is not listed.
    """
    width = boundary_width(truth_ids.shape[0], truth_ids.shape[1], ratio)
    on_truth, on_prediction = (inner_boundary(ids, width) for ids in (truth_ids, prediction_ids))
    height, columns_number = 1 + truth.ids.size, 1 + prediction.ids.size
    rows = dense_index(truth_ids[on_truth], truth)
    truth_areas = np.bincount(rows, minlength=height)[1:]
    # Void has no boundary: a prediction's whole boundary on it counts as void.
    both = on_prediction & (on_truth | (truth_ids == 0))
    rows, columns = dense_index(truth_ids[both], truth), dense_index(prediction_ids[both], prediction)
    shared = np.bincount(rows * columns_number + columns, minlength=height * columns_number)
    shared = shared.reshape(height, columns_number)
    areas = np.bincount(dense_index(prediction_ids[on_prediction], prediction), minlength=columns_number)
    return BoundaryOverlaps(shared[1:, 1:], truth_areas, (areas - shared[0])[1:])
