"""Confusions: how the ground-truth segments that a prediction misses were classified.

A ground-truth segment is misclassified if a predicted segment of another class covers it at IoU > 0.5 (right mask,
wrong class), and has no mask if no predicted segment of any class does. IoU is PQ's, without void. Crowd is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from opsnet.metrics.image_overlaps import ImageOverlaps
from opsnet.metrics.panoptic_arithmetic import MATCH_IOU
from opsnet.metrics.panoptic_averages import IntArray

NO_MASK = "(no mask)"
"""Listed as the prediction when no mask covers the ground-truth segment."""


@dataclass(frozen=True)
class ConfusionCounts:
    """Ground-truth segments by class and by the class of the mask that covers them, (M, M + 1) int64.

    The diagonal holds the matched segments (PQ's TP), column M those that no mask covers; all columns of a row except
    the diagonal add up to PQ's FN.
    """

    segments: IntArray

    def add(self, other: ConfusionCounts) -> None:
        """Adds an image's counts to these, in place."""
        self.segments[...] += other.segments

    @property
    def sums(self) -> dict[str, IntArray]:
        """See :class:`opsnet.metrics.merging.Mergeable`."""
        return {"segments": self.segments}

    @property
    def records(self) -> dict[str, Any]:
        """None."""
        return {}

    @classmethod
    def zeros(cls, num_classes: int) -> ConfusionCounts:
        """The counts of zero images."""
        return cls(np.zeros((num_classes, num_classes + 1), np.int64))

    @property
    def misnamed(self) -> IntArray:
        """(M,) ground-truth segments of each class whose mask was found but predicted as another class."""
        return self.segments[:, :-1].sum(axis=1) - np.diagonal(self.segments)

    @property
    def unmasked(self) -> IntArray:
        """(M,) ground-truth segments of each class that no mask covers."""
        return self.segments[:, -1]


@dataclass(frozen=True)
class Confusion:
    """One kind of miss.

    Attributes:
        truth: the ground-truth class name.
        predicted: the predicted class name of the mask that covers it, or ``NO_MASK``.
        count: number of segments.
        share: share of all segments of the ground-truth class, in 0..1.
    """

    truth: str
    predicted: str
    count: int
    share: float


def count_confusions(overlaps: ImageOverlaps) -> ConfusionCounts:
    """Counts the predicted class that covers each ground-truth segment of one image."""
    covers = overlaps.ious() > MATCH_IOU
    width = overlaps.num_classes + 1
    # The last column is true if no other is, so that argmax returns it.
    chosen = np.column_stack((covers, ~covers.any(axis=1))).argmax(axis=1)
    predicted = np.append(overlaps.prediction.labels, overlaps.num_classes)[chosen]
    codes = (overlaps.truth.labels * width + predicted)[~overlaps.truth.is_crowd]
    return ConfusionCounts(np.bincount(codes, minlength=(width - 1) * width).reshape(width - 1, width))


def most_common(counts: ConfusionCounts, names: Sequence[str], top: int = 20) -> list[Confusion]:
    """The most common confusions, most segments first; ties keep the order of the vocabulary.

    Args:
        counts: summed over all images.
        names: the M class names.
        top: the maximum number to return; confusions that never occurred are left out.

    Raises:
        ValueError: the numbers of names and classes differ.
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
