"""Whether scores are probabilities: among segments with a score of 0.8, are 80% right?

The expected calibration error (ECE; Naeini et al. 2015, Guo et al. 2017) is the mean over equally wide bins of
|mean score - share of right segments|, weighted by the segments in the bin. Right means a true positive of PQ: the
ground truth has a segment of the same class with an IoU above 0.5. As in PQ, a wrong segment counts only if at most
half of its pixels are void or crowd of its class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from opsnet.metrics.image_overlaps import ImageOverlaps

BINS = 10


@dataclass(frozen=True)
class Bin:
    """One range of scores: its segments, their mean score, and the share of them that is right, in 0..1."""

    count: int
    score: float
    right: float


@dataclass(frozen=True)
class Calibration:
    """Scores against right and wrong.

    Attributes:
        ece: expected calibration error in 0..1; nan without a segment.
        score: mean score.
        right: share of right segments.
        bins: one per range, in ascending order; empty ones have nan.
    """

    ece: float
    score: float
    right: float
    bins: tuple[Bin, ...]

    @property
    def count(self) -> int:
        """Number of segments."""
        return sum(one.count for one in self.bins)


def right_segments(overlaps: ImageOverlaps) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Which of an image's K predicted segments are right, and which count, (K,) bool each."""
    truth, prediction = overlaps.truth, overlaps.prediction
    same = truth.labels[:, None] == prediction.labels
    right = ((overlaps.ious() > 0.5) & same & ~truth.is_crowd[:, None]).any(axis=0)
    ignored = overlaps.pixels[0, 1:] + (overlaps.pixels[1:, 1:] * (same & truth.is_crowd[:, None])).sum(axis=0)
    counts = right | (2 * ignored <= overlaps.pixels.sum(axis=0)[1:])
    return right, counts


def calibration(scores: Sequence[float], right: Sequence[bool], bins: int = BINS) -> Calibration:
    """Compares scores with outcomes.

    Args:
        scores: of n segments, in 0..1.
        right: n flags.
        bins: number of equally wide ranges.

    Raises:
        ValueError: a score is outside 0..1.
    """
    values, flags = np.asarray(scores, np.float64), np.asarray(right, np.float64)
    if values.size and not (values.min() >= 0 and values.max() <= 1):
        raise ValueError(f"scores must lie in 0..1, got {values.min()} to {values.max()}")
    place = np.minimum((values * bins).astype(int), bins - 1)
    rows = tuple(_bin(values[place == i], flags[place == i]) for i in range(bins))
    gaps = [one.count * abs(one.score - one.right) for one in rows if one.count]
    whole = _bin(values, flags)
    return Calibration(sum(gaps) / whole.count if whole.count else np.nan, whole.score, whole.right, rows)


def _bin(scores: npt.NDArray[np.float64], right: npt.NDArray[np.float64]) -> Bin:
    if not scores.size:
        return Bin(0, np.nan, np.nan)
    return Bin(int(scores.size), float(scores.mean()), float(right.mean()))
