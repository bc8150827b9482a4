"""Matching of predicted and true segments, as pure functions of numpy arrays.

PQ is defined in Kirillov et al., "Panoptic Segmentation" (CVPR 2019), section 4.1; the treatment of void and crowd
(section 4.2) follows panopticapi, the tool behind all published COCO, ADE20K and Cityscapes numbers, to the count::

    IoU(p, g) = |p and g| / (|p| + |g| - |p and g| - |p and void|)
    PQ = sum of IoU over matches / (TP + FP / 2 + FN / 2) = SQ * RQ

First ``overlap_table`` (maps to shared pixels), then ``count_segments`` (shared pixels to TP, FP, FN); the averages of
all images together are ``panoptic_averages.summarise``.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from opsnet.metrics.panoptic_averages import IntArray, PanopticCounts

VOID = 0
MATCH_IOU = 0.5
"""A pair matches above this IoU; at one half no segment can have two matches, which makes the matching unique."""

Side = Literal["truth", "prediction"]


class SegmentError(ValueError):
    """An id map and its list of segments contradict each other.

    Attributes:
        side: whose map it is, ``truth`` or ``prediction``.
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
    """An id that the list holds twice."""

    problem = "the {side} lists segment {id} twice: give each segment its own id"


class VoidSegmentError(SegmentError):
    """The id of void in the list of the truth."""

    problem = "the {side} lists a segment with id {id}, which stands for void: number segments from 1"


@dataclass(frozen=True)
class SegmentTable:
    """The segments of one image's map; S of them.

    Attributes:
        side: whose they are, for error messages.
        ids: (S,) their values in the id map. None of the truth is 0; of a prediction 0 is a segment like any other
            where it is listed, as in panopticapi.
        labels: (S,) classes, 0..C-1.
        is_crowd: (S,) bool; only the truth's counts.
        areas: (S,) pixels, perhaps not whole, or ``None`` to count them in the map. panopticapi takes the truth's from
            its json.
        covered: (S,) how many of a segment's pixels others hide in the map, or 0 for none.

    Raises:
        DuplicateSegmentError: an id appears twice.
        VoidSegmentError: an id of the truth is 0.
    """

    side: Side
    ids: IntArray
    labels: IntArray
    is_crowd: npt.NDArray[np.bool_]
    areas: IntArray | npt.NDArray[np.float64] | None = None
    covered: IntArray | int = 0

    def __post_init__(self) -> None:
        ids = self.ids.tolist()  # a set of them costs a tenth of np.unique, and tables are made by the thousand
        known = set(ids)
        if len(known) < len(ids):
            raise DuplicateSegmentError(self.side, min(i for i, count in Counter(ids).items() if count > 1))
        if VOID in known and self.side == "truth":
            raise VoidSegmentError(self.side, VOID)

    def areas_of(self, pixels: IntArray) -> IntArray | npt.NDArray[np.float64]:
        """Areas (S,) of the segments whose ``pixels`` (S,) were counted in the map."""
        return pixels + self.covered if self.areas is None else self.areas


def overlap_table(
    truth_ids: npt.NDArray[Any], prediction_ids: npt.NDArray[Any], truth: SegmentTable, prediction: SegmentTable
) -> IntArray:
    """Pixels that each pair of segments shares.

    Args:
        truth_ids: (H, W) integer id map, 0 = void; gaps in the ids are fine.
        prediction_ids: (H, W) likewise.
        truth: the G segments of the truth.
        prediction: the K segments of the prediction.

    Returns:
        (1 + G, 1 + K) int64 pixels; row and column 0 are void, the others in the order of the lists.

    Raises:
        UnlistedSegmentError: a map holds an id that its list lacks.
        ValueError: the maps differ in size, or are empty.
    """
    if truth_ids.shape != prediction_ids.shape or truth_ids.ndim != 2 or truth_ids.size == 0:
        shapes = [tuple(ids.shape) for ids in (prediction_ids, truth_ids)]
        raise ValueError(
            f"the prediction's id map has shape {shapes[0]} and the truth's {shapes[1]}: "
            "both must be (H, W) of the original image, so resize the prediction first"
        )
    flat_truth, flat_prediction = truth_ids.ravel(), prediction_ids.ravel()
    # Maps are piecewise constant: looking ids up once a run of equal pixels is far cheaper than once a pixel.
    is_start = np.ones(flat_truth.size, dtype=bool)
    np.not_equal(flat_truth[1:], flat_truth[:-1], out=is_start[1:])
    is_start[1:] |= flat_prediction[1:] != flat_prediction[:-1]
    starts = np.flatnonzero(is_start)
    lengths = np.diff(starts, append=flat_truth.size)
    rows = dense_index(flat_truth[starts], truth)
    columns = dense_index(flat_prediction[starts], prediction)
    height, width = 1 + truth.ids.size, 1 + prediction.ids.size
    # bincount sums weights as float64, which is exact up to 2**53 pixels.
    counts = np.bincount(rows * width + columns, weights=lengths, minlength=height * width)
    return counts.astype(np.int64).reshape(height, width)


def dense_index(values: npt.NDArray[Any], table: SegmentTable) -> IntArray:
    """Ids as indices: 1 + position in the table, and 0 for void, which is every 0 that the table does not list."""
    known = np.append(table.ids, VOID)
    order = np.argsort(known, kind="stable")  # a listed 0 before void's
    places = order[np.searchsorted(known, values, sorter=order).clip(max=known.size - 1)]
    unlisted = known[places] != values
    if unlisted.any():
        raise UnlistedSegmentError(table.side, int(values[unlisted][0]))
    indices: IntArray = (places + 1) % known.size
    return indices


def count_segments(
    overlaps: IntArray, truth: SegmentTable, prediction: SegmentTable, num_classes: int
) -> PanopticCounts:
    """Matches the segments of one image, by the rules of panopticapi.

    A truth segment that is in the list without a pixel is a miss (FN), as in panopticapi: scaling a map down can
    swallow one.

    Args:
        overlaps: (1 + G, 1 + K), as ``overlap_table`` answers.
        truth: G segments.
        prediction: K segments.
        num_classes: C.

    Raises:
        AbsentSegmentError: the prediction lists a segment without a pixel.
    """
    areas = overlaps.sum(axis=0)[1:]
    if (areas == 0).any():
        raise AbsentSegmentError(prediction.side, int(prediction.ids[areas == 0][0]))
    shared, on_void = overlaps[1:, 1:], overlaps[0, 1:]
    truth_areas = truth.areas_of(overlaps.sum(axis=1)[1:])
    # Nobody knows what void pixels show, so a prediction is neither rewarded nor punished for reaching into them.
    unions = (areas - on_void)[None, :] + truth_areas[:, None] - shared
    # A union of 0 belongs to a truth segment without pixels and a prediction inside void: no overlap, so no match. One
    # below 0 has an area in the json that is too small.
    ious = shared / np.where(unions > 0, unions, np.inf)
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
        # astype, because bincount of nothing answers integers.
        iou_sum=np.bincount(labels, weights=ious[rows, columns], minlength=num_classes).astype(np.float64),
    )


def _on_crowd(shared: IntArray, truth: SegmentTable, prediction: SegmentTable, num_classes: int) -> IntArray:
    """(K,) pixels of each predicted segment on the crowd region of its own class."""
    # One region a class: of several, panopticapi keeps the last, and numpy's assignment does the same.
    crowd_of_class = np.full(num_classes, -1)
    crowds = np.flatnonzero(truth.is_crowd)
    crowd_of_class[truth.labels[crowds]] = crowds
    own_crowd = crowd_of_class[prediction.labels]
    pixels = np.zeros(prediction.ids.size, np.int64)
    has_crowd = np.flatnonzero(own_crowd >= 0)
    pixels[has_crowd] = shared[own_crowd[has_crowd], has_crowd]
    return pixels
