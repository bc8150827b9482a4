"""map_in_threads: the order of results, errors in their turn, and few items ahead."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from opsnet.utils import threads
from opsnet.utils.threads import map_in_threads


def test_results_are_in_order_although_later_items_end_first() -> None:
    def slow_first(item: int) -> int:
        time.sleep(0.02 if item % 4 == 0 else 0)
        return item * item

    assert list(map_in_threads(slow_first, range(20))) == [i * i for i in range(20)]
    assert list(map_in_threads(slow_first, [])) == []


def test_work_is_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads.os, "cpu_count", lambda: 8)
    together = threading.Barrier(3, timeout=10)  # passed only if three items are worked on at once
    assert len(list(map_in_threads(lambda _: together.wait(), range(6), threads=3))) == 6


def test_an_error_comes_in_its_turn_and_ends_the_work() -> None:
    started: list[int] = []

    def fail_at_five(item: int) -> int:
        started.append(item)
        if item == 5:
            raise ValueError("five")
        return item

    seen = []
    with pytest.raises(ValueError, match="five"):
        for result in map_in_threads(fail_at_five, range(1000), threads=2):
            seen.append(result)
    assert seen == [0, 1, 2, 3, 4]
    assert len(started) < 20


def test_items_are_read_as_results_are_taken() -> None:
    read: list[int] = []

    def items() -> Iterator[int]:
        for i in range(1000):
            read.append(i)
            yield i

    results = map_in_threads(lambda i: i, items(), threads=2)
    for _ in range(10):
        next(results)
    assert len(read) < 20
