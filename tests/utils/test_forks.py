"""map_in_forks: the order of results, errors in their turn, a process that is killed, and none that is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from opsnet.utils.errors import DatasetError
from opsnet.utils.forks import can_fork, map_in_forks

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="used on Linux only")
FIX = "do it again"


def fail_at(bad: int, number: int) -> int:
    if number == bad:
        raise DatasetError(f"{number} is bad")
    return number


@pytest.mark.parametrize("processes", [1, 2, 3, 40])
def test_results_are_in_order(processes: int) -> None:
    offset = 7  # a local function need not be pickled
    found = list(map_in_forks(lambda i: (i * i + offset, os.getpid()), range(20), processes, fix=FIX))
    assert [value for value, _ in found] == [i * i + offset for i in range(20)]
    workers = {worker for _, worker in found}
    assert len(workers) == min(processes, 20)
    assert os.getpid() in workers
    assert list(map_in_forks(str, [], processes, fix=FIX)) == []


def test_an_error_comes_in_its_turn() -> None:
    results = map_in_forks(lambda i: fail_at(5, i), range(10), 2, fix=FIX)
    assert [next(results) for _ in range(5)] == list(range(5))
    with pytest.raises(DatasetError, match="^5 is bad$"):
        next(results)


def test_what_cannot_be_sent_is_an_error() -> None:
    def fail(number: int) -> None:
        if number:
            raise ValueError(lambda: 0)

    with pytest.raises(Exception, match="pickle"):
        list(map_in_forks(lambda i: lambda: i, range(2), 2, fix=FIX))
    with pytest.raises(RuntimeError, match="^ValueError: <function"):
        list(map_in_forks(fail, range(2), 2, fix=FIX))


def test_a_killed_process_is_one_sentence() -> None:
    def die_at_five(number: int) -> int:
        if number == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        return number

    with pytest.raises(
        DatasetError, match="^a worker process was killed, perhaps because memory was full: do it again$"
    ):
        list(map_in_forks(die_at_five, range(10), 2, fix=FIX))


def test_processes_leave_signals_to_this_one_and_begin_as_told() -> None:
    begun: list[int] = []

    def look(_: int) -> tuple[bool, list[int]]:
        return signal.getsignal(signal.SIGINT) is signal.SIG_IGN, begun

    results = map_in_forks(look, range(4), 2, fix=FIX, begin=lambda: begun.append(1))
    here = signal.getsignal(signal.SIGINT) is signal.SIG_IGN  # as a shell starts a job in the background
    assert list(results) == [(here, []), (True, [1])] * 2


def test_the_work_begins_at_once_and_ends_with_its_reader(tmp_path: Path) -> None:
    def note(number: int) -> int:
        (tmp_path / f"{number}").write_text(str(os.getpid()))
        time.sleep(60 * (number > 2))
        return number

    results = map_in_forks(note, range(9), 3, fix=FIX)
    while len(list(tmp_path.iterdir())) < 4:
        time.sleep(0.01)
    assert next(results) == 0
    pids = {int(path.read_text()) for path in tmp_path.iterdir()} - {os.getpid()}
    assert len(pids) == 2
    results.close()  # type: ignore[attr-defined]
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_what_was_printed_is_printed_once() -> None:
    program = (
        "from opsnet.utils.forks import map_in_forks\n"
        "print('before', end=' ')\n"
        "print(sum(map_in_forks(int, range(10), 3, fix='')))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "before 45\n"


def test_a_process_with_torch_does_not_fork() -> None:
    program = "from opsnet.utils.forks import can_fork; print(can_fork()); import torch; print(can_fork())"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False"]
    assert can_fork() == ("torch" not in sys.modules)
