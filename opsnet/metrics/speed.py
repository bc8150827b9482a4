"""Images per second: of the network alone, and of the whole evaluation on one device.

The network's time is from the batch on the device to its output, everything that it enqueued included. The whole time
is that from one output to the next: scoring the batch before (or handing it to a process that does), reading and
resizing images, and the network. Both leave out the first batches, in which libraries choose their kernels, memory is
allocated and workers start.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch

from opsnet.metrics.merging import Records
from opsnet.metrics.panoptic_averages import IntArray

WARM_UP = 3  # batches

SPEED_RULE = (
    f"images per second on one device, without the first {WARM_UP} batches; whole: reading, network, scoring of all "
    "settings"
)
"""To be printed with the results."""


class Times(NamedTuple):
    """Nanoseconds of one batch: of the network, and since the batch before was ready."""

    network: int
    whole: int


class Speed:
    """Times of all images so far, in nanoseconds, and their number; see :class:`opsnet.metrics.merging.Mergeable`."""

    def __init__(self) -> None:
        self.sums: dict[str, IntArray] = {"times": np.zeros(3, np.int64)}
        self.records: dict[str, Records] = {}

    def add(self, times: Times, images: int) -> None:
        """Adds a batch."""
        self.sums["times"] += np.array([*times, images])

    def as_dict(self) -> dict[str, float]:
        """``network`` and ``whole`` in images per second, and ``images``, their number; empty without an image."""
        network, whole, images = self.sums["times"].tolist()
        return {"network": 1e9 * images / network, "whole": 1e9 * images / whole, "images": images} if images else {}


class Watch:
    """Measures the batches of one pass; its first batches are the warm-up.

    Args:
        device: of the network.
    """

    def __init__(self, device: torch.device) -> None:
        self._device, self._seen, self._network = device, 0, 0
        self._last = time.perf_counter_ns()

    @contextmanager
    def network(self) -> Iterator[None]:
        """A context that runs the network on a batch."""
        start = self._now()
        yield
        self._network = self._now() - start

    def ready(self) -> Times | None:
        """The times of a batch that is ready to be scored; ``None`` in the warm-up, or if no network ran."""
        now, network = time.perf_counter_ns(), self._network
        whole, self._last, self._network = now - self._last, now, 0
        if not network:
            return None
        self._seen += 1
        return Times(network, whole) if self._seen > WARM_UP else None

    def _now(self) -> int:
        # Kernels run behind Python's back: without waiting for them, their time would be that of the next step.
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter_ns()
