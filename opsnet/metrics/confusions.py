"""Which names are taken for which: what the prediction says of the truth segments that it misses.

A truth segment is missed for its name when a predicted segment of another class covers it at IoU > 0.5 (right mask,
wrong name), and for its mask when no predicted segment of any class does. IoU is PQ's, void left out. Crowd regions
are no segments to find and are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from opsnet.metrics.image_overlaps import ImageOverlaps
from opsnet.metrics.panoptic_arithmetic import MATCH_IOU
from opsnet.metrics.panoptic_averages import IntArray

NO_MASK = "(no mask)"
"""Stands in lists for a prediction where no mask covers the truth segment."""


@dataclass(frozen=True)
class ConfusionCounts:
    """Truth segments by class and by the class of the mask that covers them, (M, M + 1) int64.

    The diagonal holds the found segments (PQ's TP), column M those that no mask covers; the other columns of a row and
    column M add up to PQ's FN.
    """

    segments: IntArray

    def __add__(self, other: ConfusionCounts) -> ConfusionCounts:
        return ConfusionCounts(self.segments + other.segments)

    @classmethod
    def zeros(cls, num_classes: int) -> ConfusionCounts:
        """The counts of no image."""
        return cls(np.zeros((num_classes, num_classes + 1), np.int64))

    @property
    def misnamed(self) -> IntArray:
        """(M,) truth segments of each class whose mask was found under another name."""
        return self.segments[:, :-1].sum(axis=1) - np.diagonal(self.segments)

    @property
    def unmasked(self) -> IntArray:
        """(M,) truth segments of each class that no mask covers."""
        return self.segments[:, -1]


@dataclass(frozen=True)
class Confusion:
    """One kind of miss.

    Attributes:
        truth: the true name.
        predicted: the name of the mask that covers it, or ``NO_MASK``.
        count: segments.
        share: of all segments with the true name, in 0..1.
    """

    truth: str
    predicted: str
    count: int
    share: float


def count_confusions(overlaps: ImageOverlaps) -> ConfusionCounts:
    """Which class covers each truth segment of one image."""
    covers = overlaps.ious() > MATCH_IOU
    width = overlaps.num_classes + 1
    # The last column is true where no other is, so that argmax answers it.
    chosen = np.column_stack((covers, ~covers.any(axis=1))).argmax(axis=1)
    predicted = np.append(overlaps.prediction.labels, overlaps.num_classes)[chosen]
    codes = (overlaps.truth.labels * width + predicted)[~overlaps.truth.is_crowd]
    return ConfusionCounts(np.bincount(codes, minlength=(width - 1) * width).reshape(width - 1, width))


def most_common(counts: ConfusionCounts, names: Sequence[str], top: int = 20) -> list[Confusion]:
    """The commonest kinds of miss, most segments first, in the order of the vocabulary among equals.

    Args:
        counts: of all images together.
        names: M.
        top: how many to answer at most; kinds that never happened are left out.

    Raises:
        ValueError: another number of names than classes.
    """
    if len(names) != len(counts.segments):
        raise ValueError(f"counts of {len(counts.segments)} classes need as many names, got {len(names)}")
    misses = counts.segments.copy()
    np.fill_diagonal(misses, 0)
    order = np.argsort(-misses, axis=None, kind="stable")[:top]
    rows, columns = np.unravel_index(order, misses.shape)
    totals, predicted = counts.segments.sum(axis=1), (*names, NO_MASK)
    return [
        Confusion(names[row], predicted[column], int(misses[row, column]), float(misses[row, column] / totals[row]))
        for row, column in zip(rows.tolist(), columns.tolist())
        if misses[row, column]
    ]
