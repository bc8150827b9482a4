"""Memory, open handles and threads of a process over time, and whether they grow."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np

from opsnet.utils.free_memory import return_free_memory

PROC = Path("/proc")
WARM_UP = 0.3
"""Share of a run that is not judged: caches fill, and the allocator gets the memory that it keeps."""

WINDOWS = 20
"""Into how many parts of equal numbers of samples the rest is divided."""

BOUNDS = {"memory": 10.0, "handles": 0.005, "threads": 0.005}
"""Growth per step, prediction or request that is not a leak yet: memory in kB, the others in numbers."""

NOISE = {"memory": 16 * 1024.0, "handles": 4.0, "threads": 4.0}
"""Growth over all steps that is not a leak in a short run either."""


@dataclass(frozen=True)
class Sample:
    """A process at one time: seconds since the start, memory (resident) in kB, open handles, threads.

    Memory and threads include child processes.
    """

    seconds: float
    memory: float
    handles: int
    threads: int


class Watch:
    """Samples a process, from a thread, for as long as the context lasts.

    Args:
        pid: of the process.
        every: seconds between two samples.
    """

    def __init__(self, pid: int, every: float = 0.5) -> None:
        self.samples: list[Sample] = []
        self._pid, self._every, self._ended = pid, every, threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    @property
    def peak(self) -> float:
        """The largest memory in MB."""
        return max((s.memory for s in self.samples), default=0) / 1024

    def _sample(self) -> None:
        start = time.monotonic()
        while not self._ended.wait(self._every):
            with suppress(OSError):  # the process ends
                taken = sample(self._pid, time.monotonic() - start)
                if taken.memory:  # 0: it has ended, and is not waited for yet
                    self.samples.append(taken)


def sample(pid: int, seconds: float) -> Sample:
    """One sample of a process.

    Of this process, what the allocator keeps for reuse is given back first: images of all sizes leave gaps, which are
    no leak. Other processes cannot be asked for that; the page does it by itself.

    Raises:
        OSError: there is no such process, or no ``/proc``.
    """
    if pid == os.getpid():
        return_free_memory()
    family = [pid, *children(pid)]
    status = [_status(process) for process in family]
    return Sample(
        seconds, sum(s.get("VmRSS", 0) for s in status), len(os.listdir(PROC / str(pid) / "fd")),
        sum(s.get("Threads", 0) for s in status),
    )  # fmt: skip


def children(pid: int) -> list[int]:
    """The child processes of a process, and theirs."""
    found: list[int] = []
    with suppress(OSError):
        for task in os.listdir(PROC / str(pid) / "task"):
            found += map(int, (PROC / str(pid) / "task" / task / "children").read_text().split())
    return [*found, *(grandchild for child in found for grandchild in children(child))]


def _status(pid: int) -> dict[str, int]:
    lines = (PROC / str(pid) / "status").read_text().splitlines()
    fields = (line.replace("kB", "").split(":", 1) for line in lines if line.startswith(("VmRSS", "Threads")))
    return {name: int(value) for name, value in fields}


def slope(samples: Sequence[Sample], attribute: str, steps: int) -> float:
    """Growth of an attribute per step, by linear regression over the samples after the warm-up.

    The lowest sample of each of :data:`WINDOWS` is used: what requests hold while they run, and give back, comes and
    goes, while a leak raises the lowest, too.

    Args:
        samples: of the whole run, whose steps are taken to be equally long.
        attribute: memory, handles or threads.
        steps: number of steps of the whole run.
    """
    seconds = np.array([s.seconds for s in samples])
    begin = seconds[0] + WARM_UP * (seconds[-1] - seconds[0])
    judged = [s for s in samples if s.seconds >= begin]
    windows = np.array_split(np.arange(len(judged)), min(WINDOWS, len(judged)))
    lowest = [min((judged[i] for i in window), key=lambda s: getattr(s, attribute)) for window in windows]
    at = np.array([s.seconds for s in lowest])
    values = np.array([getattr(s, attribute) for s in lowest], dtype=float)
    per_second = float(np.polyfit(at - at[0], values, 1)[0])
    return per_second * float(seconds[-1] - seconds[0]) / steps


def growing(samples: Sequence[Sample], steps: int) -> list[str]:
    """What grows by more than :data:`BOUNDS` per step and :data:`NOISE` in all, a sentence each.

    Too few samples to judge are one, too.
    """
    if len(samples) < 20:
        return [f"{len(samples)} samples are too few to judge: make the run longer"]
    slopes = {name: slope(samples, name, steps) for name in BOUNDS}
    units = {"memory": " kB", "handles": "", "threads": ""}
    return [
        f"{name} grow by {value:.3f}{units[name]} per step, more than {BOUNDS[name]:g}"
        for name, value in slopes.items()
        if value > BOUNDS[name] and value * steps > NOISE[name]
    ]


COLUMNS = (
    "process", "steps", "minutes", "MB after warm-up", "MB at the end", "peak MB", "kB per step", "handles",
    "handles per 1,000 steps", "threads", "threads per 1,000 steps",
)  # fmt: skip


def row(name: str, samples: Sequence[Sample], steps: int) -> list[str]:
    """A row of the table :data:`COLUMNS`; means of ten samples after the warm-up and at the end."""
    warm = int(WARM_UP * len(samples))
    begin, end = (
        float(np.mean([s.memory for s in part])) / 1024 for part in (samples[warm : warm + 10], samples[-10:])
    )
    last = samples[-1]
    return [
        name, f"{steps:,}", f"{last.seconds / 60:.1f}", f"{begin:.0f}", f"{end:.0f}",
        f"{max(s.memory for s in samples) / 1024:.0f}", f"{slope(samples, 'memory', steps):.2f}",
        f"{last.handles}", f"{1000 * slope(samples, 'handles', steps):.2f}",
        f"{last.threads}", f"{1000 * slope(samples, 'threads', steps):.2f}",
    ]  # fmt: skip
