"""map_in_processes: the order of results, errors in their turn, and a process that is killed."""

from __future__ import annotations

import os
import signal
from functools import partial

import pytest

from opsnet.utils.errors import DatasetError
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


def test_processes_leave_signals_to_this_one() -> None:
    assert all(map_in_processes(ignores_interrupts, range(4), 2, fix=FIX))
