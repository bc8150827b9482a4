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
