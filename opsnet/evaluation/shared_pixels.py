"""Pixels that segments share in two maps in the colours of COCO's PNGs, counted in C where that was built."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from opsnet.data.panoptic_png import rgb_to_ids
from opsnet.metrics.panoptic_arithmetic import SegmentTable, UnlistedSegmentError, overlap_table
from opsnet.metrics.panoptic_averages import IntArray

try:
    from opsnet.evaluation._shared_pixels import add_shared_pixels
except ImportError:  # there was no C compiler at installation
    add_shared_pixels = None  # type: ignore[assignment]


def overlap_table_of_colours(
    truth_colours: npt.NDArray[np.uint8], prediction_colours: npt.NDArray[np.uint8],
    truth: SegmentTable, prediction: SegmentTable,
) -> IntArray:  # fmt: skip
    """:func:`opsnet.metrics.panoptic_arithmetic.overlap_table` of two maps in colours: id = R + 256 G + 65536 B.

    Args:
        truth_colours: (H, W, 3).
        prediction_colours: (H, W, 3).
        truth: the G ground-truth segments.
        prediction: the K predicted segments.

    Returns:
        (1 + G, 1 + K) int64 pixels.

    Raises:
        UnlistedSegmentError, ValueError: as for ids.
    """
    first, second = np.ascontiguousarray(truth_colours), np.ascontiguousarray(prediction_colours)
    if add_shared_pixels is None or first.shape != second.shape or first.size == 0:
        return overlap_table(rgb_to_ids(first), rgb_to_ids(second), truth, prediction)
    rows, columns = np.ascontiguousarray(truth.ids, np.int64), np.ascontiguousarray(prediction.ids, np.int64)
    table = np.zeros((1 + rows.size, 1 + columns.size), np.int64)
    if unlisted := add_shared_pixels(first, second, rows, columns, table):
        side, segment_id = unlisted
        raise UnlistedSegmentError((truth, prediction)[side].side, segment_id)
    return table
