"""Clients that ask at the same time, each with expected results of its own: times, failures, and mixed results."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field

import numpy as np

PATIENCE = 300  # seconds that the last requests may take


@dataclass
class Outcome:
    """What the requests of all clients came to.

    Attributes:
        seconds: of each request that succeeded.
        failures: a sentence for each that did not.
        mixed: a sentence for each whose result was not the expected one.
    """

    seconds: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    mixed: list[str] = field(default_factory=list)

    COLUMNS = ("what", "clients", "requests", "per second", "p50 s", "p99 s", "failed", "mixed", "peak MB")

    @property
    def requests(self) -> int:
        """Number of all requests."""
        return len(self.seconds) + len(self.failures)

    def row(self, name: str, clients: int, minutes: float, peak: float) -> list[str]:
        """A row of the table :data:`COLUMNS`."""
        p50, p99 = np.percentile(self.seconds, [50, 99]) if self.seconds else (np.nan, np.nan)
        return [
            name, str(clients), f"{self.requests:,}", f"{self.requests / (60 * minutes):.1f}", f"{p50:.2f}",
            f"{p99:.2f}", str(len(self.failures)), str(len(self.mixed)), f"{peak:.0f}",
        ]  # fmt: skip

    def faults(self) -> list[str]:
        """What is wrong, a sentence each: failures and mixed results, the first of each, or no request at all."""
        found = [] if self.requests else ["no request was made"]
        for kind, sentences in (("failed", self.failures), ("had another result than expected", self.mixed)):
            if sentences:
                found.append(f"{len(sentences)} of {self.requests} requests {kind}, the first: {sentences[0]}")
        return found


Case = tuple[str, Callable[[], Hashable], Hashable]
"""Name, a request, and the result that it must have."""


def require_distinct(cases: Sequence[Sequence[Case]]) -> None:
    """Checks that a result of one client could not pass for that of another.

    Raises:
        ValueError: two cases expect the same result.
    """
    expected = [result for client in cases for _, _, result in client]
    if len(set(expected)) < len(expected):
        raise ValueError("two requests expect the same result: mixed results would not be seen")


def run_clients(cases: Sequence[Sequence[Case]], minutes: float) -> Outcome:
    """Runs one thread per client, which makes its requests in turn until the time is over.

    Args:
        cases: those of each client.
        minutes: how long.
    """
    outcome, lock = Outcome(), threading.Lock()
    ends = time.monotonic() + 60 * minutes

    def work(own: Sequence[Case]) -> None:
        while time.monotonic() < ends:
            for name, request, expected in own:
                start = time.monotonic()
                try:
                    result, failure = request(), None
                except Exception as error:  # whatever it is, it is counted
                    result, failure = None, f"{name}: {type(error).__name__}: {error}"
                with lock:
                    if failure is not None:
                        outcome.failures.append(failure)
                        continue
                    outcome.seconds.append(time.monotonic() - start)
                    if result != expected:
                        outcome.mixed.append(name)

    threads = [threading.Thread(target=work, args=(own,), daemon=True) for own in cases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0, ends + PATIENCE - time.monotonic()))
        if thread.is_alive():
            outcome.failures.append(f"a request did not end within {PATIENCE} s")
    return outcome
