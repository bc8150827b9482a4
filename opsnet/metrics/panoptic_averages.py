"""Counts of matched and missed segments, and their averages: PQ, SQ and RQ (Kirillov et al. 2019, equations 1 and 2).

numpy only, so that scoring files needs no torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]

PANOPTIC_RULE = (
    "PQ, SQ and RQ are means over the classes that occur in the ground truth or the prediction (panopticapi): a class "
    "that is only predicted counts as 0"
)
"""To be printed with the results."""


@dataclass(frozen=True)
class PanopticCounts:
    """Matches and misses per class, all (C,): ``tp``, ``fp``, ``fn`` int64 and ``iou_sum`` float64 over the matches."""

    tp: IntArray
    fp: IntArray
    fn: IntArray
    iou_sum: npt.NDArray[np.float64]

    def __add__(self, other: PanopticCounts) -> PanopticCounts:
        return PanopticCounts(self.tp + other.tp, self.fp + other.fp, self.fn + other.fn, self.iou_sum + other.iou_sum)

    @classmethod
    def zeros(cls, num_classes: int) -> PanopticCounts:
        """The counts of zero images."""
        tp, fp, fn = np.zeros((3, num_classes), np.int64)
        return cls(tp, fp, fn, np.zeros(num_classes))


@dataclass(frozen=True)
class Quality:
    """Averages in percent (0..100) over the ``n`` classes that occur; 0 if none does."""

    pq: float
    sq: float
    rq: float
    n: int


@dataclass(frozen=True)
class ClassQuality:
    """One class: ``pq``, ``sq``, ``rq`` in percent and their counts; all counts are 0 if the class did not occur."""

    label: int
    is_thing: bool
    pq: float
    sq: float
    rq: float
    tp: int
    fp: int
    fn: int

    @property
    def occurs(self) -> bool:
        """Whether the averages include this class."""
        return self.tp + self.fp + self.fn > 0


@dataclass(frozen=True)
class PanopticScores:
    """Panoptic quality of a set of images: over all classes, over things, over stuff, and per class."""

    all: Quality
    things: Quality
    stuff: Quality
    per_class: tuple[ClassQuality, ...]

    def of(self, chosen: Sequence[bool]) -> Quality:
        """Averages over those of the chosen classes that occur."""
        rows = [c for c, wanted in zip(self.per_class, chosen, strict=True) if wanted and c.occurs]
        if not rows:
            return Quality(0.0, 0.0, 0.0, 0)
        pq, sq, rq = np.mean([(c.pq, c.sq, c.rq) for c in rows], axis=0).tolist()
        return Quality(pq, sq, rq, len(rows))

    def as_dict(self) -> dict[str, float]:
        """``PQ``, ``PQth``, ``PQst``, ``SQ`` and ``RQ`` in percent."""
        return {
            "PQ": self.all.pq,
            "PQth": self.things.pq,
            "PQst": self.stuff.pq,
            "SQ": self.all.sq,
            "RQ": self.all.rq,
        }


def summarise(counts: PanopticCounts, is_thing: Sequence[bool]) -> PanopticScores:
    """Averages counts into PQ, SQ and RQ.

    Classes that never occur (TP + FP + FN = 0) are excluded from the averages; a class without a match counts as 0.

    Args:
        counts: counts of C classes, summed over all images.
        is_thing: C flags.

    Raises:
        ValueError: the numbers of classes differ.
    """
    things = np.asarray(is_thing, dtype=bool)
    if things.shape != counts.tp.shape:
        raise ValueError(f"counts of {counts.tp.size} classes need as many is_thing flags, got {things.size}")
    halves = counts.tp + 0.5 * counts.fp + 0.5 * counts.fn
    occurs = halves > 0
    # The maxima only avoid 0 / 0: halves is at least 0.5 if a class occurs, tp at least 1 if it has a match.
    pq = 100 * counts.iou_sum / np.maximum(halves, 0.5)
    sq = 100 * counts.iou_sum / np.maximum(counts.tp, 1)
    rq = 100 * counts.tp / np.maximum(halves, 0.5)

    def average(chosen: npt.NDArray[np.bool_]) -> Quality:
        n = int(chosen.sum())
        if n == 0:
            return Quality(0.0, 0.0, 0.0, n)
        return Quality(float(pq[chosen].mean()), float(sq[chosen].mean()), float(rq[chosen].mean()), n)

    columns = (pq, sq, rq, counts.tp, counts.fp, counts.fn)
    rows = zip(things.tolist(), *(column.tolist() for column in columns))
    return PanopticScores(
        all=average(occurs),
        things=average(occurs & things),
        stuff=average(occurs & ~things),
        per_class=tuple(ClassQuality(label, *row) for label, row in enumerate(rows)),
    )
