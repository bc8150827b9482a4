"""Runs of equal pixels in a pair of maps: counting runs is far cheaper than counting pixels.

Maps are piecewise constant. A run ends where the id of the ground truth or of the prediction changes, in row-major
order, so rows may share one.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from opsnet.metrics.panoptic_averages import IntArray


class IdRuns(NamedTuple):
    """R runs of a pair of maps, (R,) integers each.

    Attributes:
        truth, prediction: ids.
        lengths: numbers of pixels; their sum is that of the image.
    """

    truth: npt.NDArray[Any]
    prediction: npt.NDArray[Any]
    lengths: IntArray


def runs_of_ids(truth: npt.NDArray[Any], prediction: npt.NDArray[Any]) -> IdRuns:
    """Runs of two id maps (H, W).

    Raises:
        ValueError: the maps differ in size, or are empty.
    """
    if truth.shape != prediction.shape or truth.ndim != 2 or truth.size == 0:
        shapes = [tuple(ids.shape) for ids in (prediction, truth)]
        raise ValueError(
            f"the prediction's id map has shape {shapes[0]} and the truth's {shapes[1]}: "
            "both must be (H, W) of the original image, so resize the prediction first"
        )
    flat_truth, flat_prediction = truth.ravel(), prediction.ravel()
    changes = flat_truth[1:] != flat_truth[:-1]
    changes |= flat_prediction[1:] != flat_prediction[:-1]
    starts = np.append(0, np.flatnonzero(changes) + 1)
    return IdRuns(flat_truth[starts], flat_prediction[starts], np.diff(starts, append=flat_truth.size))


def runs_of_colours(truth: npt.NDArray[np.uint8], prediction: npt.NDArray[np.uint8]) -> IdRuns:
    """Runs of two maps in the colours of COCO's PNGs, (H, W, 3) of the same size: id = R + 256 G + 65536 B.

    Bytes are compared, and only the first pixel of a run is turned into its id.
    """
    first, second = (np.ascontiguousarray(pixels).reshape(-1) for pixels in (truth, prediction))
    starts = _first_pixels(_changed_bytes(first, second))
    lengths = np.diff(starts, append=first.size // 3)
    return IdRuns(_ids_at(starts, first), _ids_at(starts, second), lengths)


_GROUP = 8
"""Pixels, whose 24 bytes are three integers: most groups have no change, and are found by the integers alone."""


def _changed_bytes(first: npt.NDArray[np.uint8], second: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Bytes of two images (3 H W,) of which one differs from the pixel before, and those of the first pixel.

    False beyond the images, up to whole groups.
    """
    size = first.size
    changed = np.empty(-(-size // (3 * _GROUP)) * 3 * _GROUP, bool)
    changed[:3], changed[size:] = True, False
    inner = changed[3:size]
    np.not_equal(second[3:], second[:-3], out=inner)
    inner |= first[3:] != first[:-3]
    return changed


def _first_pixels(changed: npt.NDArray[np.bool_]) -> IntArray:
    """Pixels of which a byte has changed, ascending.

    As ``flatnonzero`` of each three bytes, in a third of the time: that of groups of pixels, then of pixels in groups.
    """
    words = changed.view(np.uint64)
    groups = np.flatnonzero(_any_of_three(words != 0))
    pixels = np.flatnonzero(_any_of_three(words.reshape(-1, 3).take(groups, axis=0).view(bool).reshape(-1)))
    starts: IntArray = (groups * _GROUP).take(pixels >> 3) + (pixels & 7)  # // and % are slower
    return starts


def _any_of_three(flags: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """(3 N,) -> (N,)."""
    found: npt.NDArray[np.bool_] = flags[0::3] | flags[1::3]
    found |= flags[2::3]
    return found


def _ids_at(pixels: IntArray, flat: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint32]:
    """Ids of some pixels, the first of which is that of the image."""
    ids = np.empty(pixels.size, np.uint32)
    ids[0] = int.from_bytes(flat[:3].tobytes(), "little")
    # The four bytes that end with a pixel's own are a little-endian integer with a byte of the pixel before below.
    before = np.ndarray(flat.size // 3 - 1, "<u4", flat, offset=2, strides=(3,))
    np.right_shift(before[pixels[1:] - 1], 8, out=ids[1:])
    return ids
