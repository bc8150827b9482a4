"""Matching of predicted and ground-truth segments, as pure functions of numpy arrays.

PQ is defined in Kirillov et al., "Panoptic Segmentation" (CVPR 2019), section 4.1; the treatment of void and crowd
(section 4.2) equals that of panopticapi, the tool behind all published COCO, ADE20K and Cityscapes numbers::

    IoU(p, g) = |p and g| / (|p| + |g| - |p and g| - |p and void|)
    PQ = sum of IoU over matches / (TP + FP / 2 + FN / 2) = SQ * RQ

First ``overlap_table`` (maps -> shared pixels), then ``count_segments`` (shared pixels -> TP, FP, FN);
``panoptic_averages.summarise`` computes the averages over all images.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from opsnet.metrics.id_runs import runs_of_ids
from opsnet.metrics.panoptic_averages import IntArray, PanopticCounts

VOID = 0
MATCH_IOU = 0.5
"""A pair matches above this IoU; above one half no segment can have two matches, so the matching is unique."""
_MOST_SEPARATED = 256
"""Ids that are told apart by remainders, whose table grows with the square of their number."""

Side = Literal["truth", "prediction"]


class SegmentError(ValueError):
    """An id map and its list of segments contradict each other.

    Attributes:
        side: which map it is, ``truth`` or ``prediction``.
        segment_id: the first offending id.
    """

    problem = "segment {id} of the {side} is wrong"

    def __init__(self, side: Side, segment_id: int) -> None:
        super().__init__(self.problem.format(side=side, id=segment_id))
        self.side = side
        self.segment_id = segment_id


class UnlistedSegmentError(SegmentError):
    """An id in the map that the list lacks."""

    problem = "the {side}'s id map holds segment {id} but its segments do not list it: list it or set its pixels to 0"


class AbsentSegmentError(SegmentError):
    """An id in the list that has no pixel."""

    problem = "the {side} lists segment {id} but its id map has no pixel of it: drop it from the segments"


class DuplicateSegmentError(SegmentError):
    """An id that is listed twice."""

    problem = "the {side} lists segment {id} twice: give each segment its own id"


class VoidSegmentError(SegmentError):
    """The id of void in the ground truth's list."""

    problem = "the {side} lists a segment with id {id}, which stands for void: number segments from 1"


@dataclass(frozen=True)
class SegmentTable:
    """The S segments of one image's map.

    Attributes:
        side: ``truth`` or ``prediction``, for error messages.
        ids: (S,) their values in the id map. Never 0 in the ground truth; in a prediction a listed 0 is a segment like
            any other, as in panopticapi.
        labels: (S,) classes, 0..C-1.
        is_crowd: (S,) bool; used only for the ground truth.
        areas: (S,) pixels, possibly fractional, or ``None`` to count them in the map. For the ground truth, panopticapi
            reads them from its json.
        covered: (S,) pixels of each segment that others hide in the map; 0 for none.

    Raises:
        DuplicateSegmentError: an id is listed twice.
        VoidSegmentError: a ground-truth id is 0.
    """

    side: Side
    ids: IntArray
    labels: IntArray
    is_crowd: npt.NDArray[np.bool_]
    areas: IntArray | npt.NDArray[np.float64] | None = None
    covered: IntArray | int = 0

    def __post_init__(self) -> None:
        ids = self.ids.tolist()  # a set is ten times faster than np.unique, and thousands of tables are built
        known = set(ids)
        if len(known) < len(ids):
            raise DuplicateSegmentError(self.side, min(i for i, count in Counter(ids).items() if count > 1))
        if VOID in known and self.side == "truth":
            raise VoidSegmentError(self.side, VOID)

    def areas_of(self, pixels: IntArray) -> IntArray | npt.NDArray[np.float64]:
        """Areas (S,) of the segments, given their ``pixels`` (S,) counted in the map."""
        return pixels + self.covered if self.areas is None else self.areas


def overlap_table(
    truth_ids: npt.NDArray[Any], prediction_ids: npt.NDArray[Any], truth: SegmentTable, prediction: SegmentTable
) -> IntArray:
    """Counts the pixels shared by each pair of segments.

    Args:
        truth_ids: (H, W) integer id map, 0 = void; ids may have gaps.
        prediction_ids: (H, W), likewise.
        truth: the G ground-truth segments.
        prediction: the K predicted segments.

    Returns:
        (1 + G, 1 + K) int64 pixels; row and column 0 are void, the others in the order of the lists.

    Raises:
        UnlistedSegmentError: a map holds an id that is not listed.
        ValueError: the maps differ in size, or are empty.
    """
    runs = runs_of_ids(truth_ids, prediction_ids)
    rows, columns = dense_index(runs.truth, truth), dense_index(runs.prediction, prediction)
    height, width = 1 + truth.ids.size, 1 + prediction.ids.size
    # bincount sums weights as float64, which is exact up to 2**53 pixels.
    counts = np.bincount(rows * width + columns, weights=runs.lengths, minlength=height * width)
    return counts.astype(np.int64).reshape(height, width)


def dense_index(values: npt.NDArray[Any], table: SegmentTable) -> IntArray:
    """Ids as indices: 1 + position in the table, and 0 for void, which is id 0 unless the table lists it.

    Raises:
        UnlistedSegmentError: an id is not in the table.
    """
    known = np.append(VOID, table.ids)  # by index
    modulus = _separating_modulus({VOID, *table.ids.tolist()})
    if modulus is None:
        order = np.argsort(known, kind="stable")
        indices: IntArray = order[np.minimum(np.searchsorted(known, values, "right", order) - 1, known.size - 1)]
    else:  # remainders name the ids: five times as fast as a search among twenty
        index_of = np.zeros(modulus, np.int64)
        index_of[table.ids % modulus] = np.arange(1, known.size)
        indices = index_of.take(values - values // modulus * modulus)  # numpy divides faster than it takes remainders
    unlisted = known.take(indices) != values
    if unlisted.any():
        raise UnlistedSegmentError(table.side, int(values[unlisted][0]))
    return indices


def _separating_modulus(ids: set[int]) -> int | None:
    """A number by which all ids have different remainders; ``None`` if there is no small one."""
    if len(ids) > _MOST_SEPARATED:
        return None
    smallest = max(4 * len(ids), len(ids) ** 2 // 2) | 1
    moduli = range(smallest, smallest + 64, 2)
    return next((modulus for modulus in moduli if len({i % modulus for i in ids}) == len(ids)), None)


def count_segments(
    overlaps: IntArray, truth: SegmentTable, prediction: SegmentTable, num_classes: int,
    at_most: npt.NDArray[np.float64] | None = None,
) -> PanopticCounts:  # fmt: skip
    """Matches the segments of one image, by the rules of panopticapi.

    A listed ground-truth segment without a pixel is a miss (FN), as in panopticapi; downscaling a map can remove one.

    Args:
        overlaps: (1 + G, 1 + K), as returned by ``overlap_table``.
        truth: G segments.
        prediction: K segments.
        num_classes: C.
        at_most: (G, K), what an IoU counts at most: the Boundary IoU, for Boundary PQ.

    Raises:
        AbsentSegmentError: the prediction lists a segment without a pixel.
    """
    areas = overlaps.sum(axis=0)[1:]
    if (areas == 0).any():
        raise AbsentSegmentError(prediction.side, int(prediction.ids[areas == 0][0]))
    shared, on_void = overlaps[1:, 1:], overlaps[0, 1:]
    truth_areas = truth.areas_of(overlaps.sum(axis=1)[1:])
    # The content of void is unknown, so a prediction is neither rewarded nor penalized for covering it.
    unions = (areas - on_void)[None, :] + truth_areas[:, None] - shared
    # A union of 0 means a ground-truth segment without pixels and a prediction inside void: no overlap, so no match. A
    # union below 0 means that the area in the json is too small.
    ious = shared / np.where(unions > 0, unions, np.inf)
    if at_most is not None:
        ious = np.minimum(ious, at_most)
    may_match = (truth.labels[:, None] == prediction.labels[None, :]) & ~truth.is_crowd[:, None]
    rows, columns = np.nonzero(may_match & (ious > MATCH_IOU))

    missed = ~truth.is_crowd
    missed[rows] = False
    wrong = (on_void + _on_crowd(shared, truth, prediction, num_classes)) / areas <= 0.5
    wrong[columns] = False
    labels = truth.labels[rows]
    return PanopticCounts(
        tp=np.bincount(labels, minlength=num_classes),
        fp=np.bincount(prediction.labels[wrong], minlength=num_classes),
        fn=np.bincount(truth.labels[missed], minlength=num_classes),
        # astype, because bincount of an empty array returns integers.
        iou_sum=np.bincount(labels, weights=ious[rows, columns], minlength=num_classes).astype(np.float64),
    )


def _on_crowd(shared: IntArray, truth: SegmentTable, prediction: SegmentTable, num_classes: int) -> IntArray:
    """(K,) pixels of each predicted segment on the crowd region of its own class."""
    # One region per class: if there are several, panopticapi uses the last, as numpy's assignment does.
    crowd_of_class = np.full(num_classes, -1)
    crowds = np.flatnonzero(truth.is_crowd)
    crowd_of_class[truth.labels[crowds]] = crowds
    own_crowd = crowd_of_class[prediction.labels]
    pixels = np.zeros(prediction.ids.size, np.int64)
    has_crowd = np.flatnonzero(own_crowd >= 0)
    pixels[has_crowd] = shared[own_crowd[has_crowd], has_crowd]
    return pixels
