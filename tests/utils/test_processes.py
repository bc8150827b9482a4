"""map_in_processes: the order of results, errors in their turn, and a process that is killed."""

from __future__ import annotations

import gc
import os
import signal
from functools import partial
from typing import ClassVar

import pytest

from opsnet.utils.errors import DatasetError
from opsnet.utils.forks import map_in_forks
from opsnet.utils.processes import map_in_processes

FIX = "do it again"


def square(number: int) -> tuple[int, int]:
    return number * number, os.getpid()


def fail_at(bad: int, number: int) -> int:
    if number == bad:
        raise DatasetError(f"{number} is bad")
    return number


def die_at(bad: int, number: int) -> int:
    if number == bad:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def ignores_interrupts(_: int) -> bool:
    return signal.getsignal(signal.SIGINT) is signal.SIG_IGN


@pytest.mark.parametrize(("processes", "is_alone"), [(0, True), (1, True), (2, False)])
def test_results_are_in_order(processes: int, is_alone: bool) -> None:
    found = list(map_in_processes(square, range(20), processes, fix=FIX, chunk=3))
    assert [value for value, _ in found] == [i * i for i in range(20)]
    assert ({worker for _, worker in found} == {os.getpid()}) == is_alone
    assert list(map_in_processes(square, [], processes, fix=FIX)) == []


@pytest.mark.parametrize("processes", [1, 2])
def test_an_error_comes_in_its_turn(processes: int) -> None:
    results = map_in_processes(partial(fail_at, 5), range(10), processes, fix=FIX)
    assert [next(results) for _ in range(5)] == list(range(5))
    with pytest.raises(DatasetError, match="^5 is bad$"):
        next(results)


def test_a_killed_process_is_one_sentence() -> None:
    with pytest.raises(
        DatasetError, match="^a worker process was killed, perhaps because memory was full: do it again$"
    ):
        list(map_in_processes(partial(die_at, 5), range(10), 2, fix=FIX))


class Owner:
    """Garbage that must be collected where its threads are, as a video's decoder."""

    collected_in: ClassVar[list[int]] = []

    def __init__(self) -> None:
        self.itself = self

    def __del__(self) -> None:
        self.collected_in.append(os.getpid())


def collected_here(_: int) -> bool:
    gc.collect()
    return os.getpid() in Owner.collected_in


def collected_in_other_process(number: int) -> bool:
    return number % 2 == 1 and collected_here(number)  # map_in_forks gives this process the other ones


@pytest.mark.parametrize("way", [map_in_processes, map_in_forks])
def test_what_the_parent_left_is_not_collected_in_other_processes(way) -> None:
    gc.disable()
    try:
        Owner()
        assert not any(way(collected_in_other_process, range(4), 2, fix=FIX))
    finally:
        gc.enable()
    assert collected_here(0)


def test_processes_leave_signals_to_this_one() -> None:
    assert all(map_in_processes(ignores_interrupts, range(4), 2, fix=FIX))
