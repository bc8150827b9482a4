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
    changes = first[3:] != first[:-3]
    changes |= second[3:] != second[:-3]
    pixels = np.flatnonzero(changes) // 3  # up to three times, once per byte
    is_first = np.ones(pixels.size + 1, bool)
    is_first[2:] = pixels[1:] != pixels[:-1]
    starts = np.append(0, pixels + 1)[is_first]
    lengths = np.diff(starts, append=first.size // 3)
    return IdRuns(_ids_at(starts, first), _ids_at(starts, second), lengths)


def _ids_at(pixels: IntArray, flat: npt.NDArray[np.uint8]) -> npt.NDArray[np.int32]:
    four = np.zeros((pixels.size, 4), np.uint8)  # a little-endian integer each
    four[:, :3] = flat.reshape(-1, 3).take(pixels, axis=0)
    ids: npt.NDArray[np.int32] = four.view("<i4")[:, 0]
    return ids
