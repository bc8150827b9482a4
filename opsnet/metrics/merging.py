"""What metrics accumulate over images, in a form that merges exactly: parts scored on other devices, or earlier.

A metric keeps its state in two kinds of values, and nothing else that depends on the images:

- ``sums``: int64 arrays, changed only in place. The state of two sets of images is the sum of both, in any order. A sum
  of floats depends on its order, so it is kept as :class:`ExactSums`, which are integers.
- ``records``: json values by the image's position in its dataset, for metrics that need all images at once (AP).

So no metric has code for merging: :func:`state_of`, :func:`add_state` and :func:`clear` work on any of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from opsnet.metrics.panoptic_averages import IntArray, PanopticCounts

Records = dict[int, Any]
"""Json values by the image's position in its dataset."""
_HIGH, _LOW = 20, 53  # binary digits after the point of the two integers


class Mergeable(Protocol):
    """A metric's accumulator."""

    @property
    def sums(self) -> Mapping[str, IntArray]:
        """The arrays themselves, int64, by name; always the same names and shapes."""

    @property
    def records(self) -> Mapping[str, Records]:
        """The dicts themselves, by name; always the same names."""


@dataclass
class State:
    """A copy of an accumulator's state, of the images of one part.

    Attributes:
        sums: int64 arrays by name.
        records: json values by name and image.
    """

    sums: dict[str, IntArray] = field(default_factory=dict)
    records: dict[str, Records] = field(default_factory=dict)


def state_of(metrics: Mapping[str, Mergeable]) -> State:
    """A copy of the state of several metrics, with the names ``<metric>:<name>``."""
    return State(
        {f"{name}:{key}": array.copy() for name, metric in metrics.items() for key, array in metric.sums.items()},
        {f"{name}:{key}": dict(values) for name, metric in metrics.items() for key, values in metric.records.items()},
    )


def add_state(metrics: Mapping[str, Mergeable], state: State) -> None:
    """Adds the state of other images, as returned by :func:`state_of` of the same metrics.

    Raises:
        ValueError, KeyError: it is of other metrics.
    """
    for name, metric in metrics.items():
        for key, array in metric.sums.items():
            if array.shape != (other := state.sums[f"{name}:{key}"]).shape:
                raise ValueError(f"{name}:{key} has the shape {other.shape} instead of {array.shape}")
            array += other
        for key, values in metric.records.items():
            values.update(state.records[f"{name}:{key}"])


def clear(metrics: Mapping[str, Mergeable]) -> None:
    """Sets the state to that of zero images."""
    for metric in metrics.values():
        for array in metric.sums.values():
            array.fill(0)
        for values in metric.records.values():
            values.clear()


class ExactSums:
    """Sums of numbers in 0..1 that do not depend on their order: each is added as an integer, a multiple of 2^-53.

    Numbers in 0.5..1, such as the IoU of matches, and 0 are added without error; smaller ones are rounded by at most
    2^-54. Two integers hold each sum, of up to 2^30 numbers.

    Args:
        size: number of sums.
    """

    def __init__(self, size: int) -> None:
        self.sums: dict[str, IntArray] = {"high": np.zeros(size, np.int64), "low": np.zeros(size, np.int64)}
        self.records: dict[str, Records] = {}

    def add(self, values: npt.NDArray[np.float64]) -> None:
        """Adds one finite number, or the sum of an image's, to each sum."""
        high = np.floor(np.ldexp(values, _HIGH))
        low = np.ldexp(values - np.ldexp(high, -_HIGH), _LOW)
        self.sums["high"] += high.astype(np.int64)
        self.sums["low"] += np.rint(low).astype(np.int64)

    def values(self) -> npt.NDArray[np.float64]:
        """The sums, rounded once."""
        pairs = zip(self.sums["high"].tolist(), self.sums["low"].tolist())
        return np.array([((high << (_LOW - _HIGH)) + low) / (1 << _LOW) for high, low in pairs], np.float64)


class PanopticTotals:
    """Counts of matched and missed segments over all images, (C,) each.

    Args:
        num_classes: C.
    """

    def __init__(self, num_classes: int) -> None:
        self._iou = ExactSums(num_classes)
        self._counts: dict[str, IntArray] = {key: np.zeros(num_classes, np.int64) for key in ("tp", "fp", "fn")}
        self.records: dict[str, Records] = {}

    @property
    def sums(self) -> Mapping[str, IntArray]:
        """See :class:`Mergeable`."""
        return {**self._counts, **{f"iou_{key}": array for key, array in self._iou.sums.items()}}

    def add(self, counts: PanopticCounts) -> None:
        """Adds one image."""
        for key, array in self._counts.items():
            array += getattr(counts, key)
        self._iou.add(counts.iou_sum)

    def counts(self) -> PanopticCounts:
        """The totals; the sums of IoU are rounded once."""
        return PanopticCounts(**{key: array.copy() for key, array in self._counts.items()}, iou_sum=self._iou.values())
