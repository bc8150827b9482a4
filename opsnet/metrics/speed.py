"""Images a second: of the network alone, and of the whole evaluation on one device.

The network's time is from the batch on the device to its output, everything that it enqueued included. The whole time
is that from batch to batch: reading and resizing images, the network, and the scoring of all settings. Both leave out
the first batches, in which libraries choose their kernels, memory is allocated and workers start.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from opsnet.metrics.merging import Records
from opsnet.metrics.panoptic_averages import IntArray

WARM_UP = 3  # batches

SPEED_RULE = (
    f"images a second on one device, without the first {WARM_UP} batches; whole: reading, network and scoring of all "
    "settings"
)
"""To be printed with the results."""


class Speed:
    """Times of all images so far, in nanoseconds, and their number; see :class:`opsnet.metrics.merging.Mergeable`."""

    def __init__(self) -> None:
        self.sums: dict[str, IntArray] = {"network": np.zeros(2, np.int64), "whole": np.zeros(2, np.int64)}
        self.records: dict[str, Records] = {}

    def watch(self, device: torch.device) -> Watch:
        """A watch for the batches of one pass; its first batches are the warm-up."""
        return Watch(self, device)

    def as_dict(self) -> dict[str, float]:
        """``network`` and ``whole`` in images a second, and ``images``, the number of images in the latter.

        Empty if there were no more batches than those of the warm-up.
        """
        totals = {key: value.tolist() for key, value in self.sums.items()}
        found = {key: 1e9 * images / nanoseconds for key, (nanoseconds, images) in totals.items() if nanoseconds}
        return {**found, "images": totals["whole"][1]} if found else {}


class Watch:
    """Measures the batches of one pass over the data.

    Args:
        speed: the totals.
        device: of the network.
    """

    def __init__(self, speed: Speed, device: torch.device) -> None:
        self._speed, self._device, self._seen = speed, device, 0
        self._lap = time.perf_counter_ns()

    @contextmanager
    def network(self, images: int) -> Iterator[None]:
        """Measures the network on a batch of ``images``."""
        start = self._now()
        yield
        self._add("network", self._now() - start, images)

    def batch(self, images: int) -> None:
        """Ends a batch of ``images``, which began where the one before ended."""
        now = time.perf_counter_ns()
        self._add("whole", now - self._lap, images)
        self._lap, self._seen = now, self._seen + 1

    def skip(self) -> None:
        """Ends a batch that does not count, as its output was stored before."""
        self._lap = time.perf_counter_ns()

    def _add(self, key: str, nanoseconds: int, images: int) -> None:
        if self._seen >= WARM_UP:
            self._speed.sums[key] += np.array([nanoseconds, images])

    def _now(self) -> int:
        # Kernels run behind Python's back: without waiting for them, their time would be that of the next step.
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter_ns()
