"""Values and errors that the processes of an evaluation exchange through files."""

from __future__ import annotations

import dataclasses
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from opsnet.evaluation import exchange as module
from opsnet.evaluation.exchange import Exchange
from opsnet.utils.errors import InputError
from opsnet.utils.ranks import Ranks
from opsnet.utils.stop_signals import Stopped


class TwoRanks(Ranks):
    """One of two processes, without a process group."""

    def gather(self, value):
        return ["start", "start"]


@pytest.fixture
def two(tmp_path, monkeypatch) -> tuple[Exchange, Exchange]:
    monkeypatch.setattr(module, "SECONDS_TO_BE_ENDED", 0.0)
    first, second = (Exchange(tmp_path, TwoRanks(rank, 2)) for rank in (0, 1))
    return first, second


def test_the_others_get_the_value_of_the_first(two) -> None:
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(two[1].from_main, lambda: pytest.fail("only the first process computes it"))
        assert two[0].from_main(lambda: {"scenes": [1, 2]}) == {"scenes": [1, 2]}
        assert waiting.result(timeout=10) == {"scenes": [1, 2]}


def test_files_of_an_earlier_start_are_not_read(tmp_path, two) -> None:
    two[0].from_main(lambda: 1)
    (tmp_path / ".earlier.failed.1.json").write_text('"an old error"')
    again = Exchange(tmp_path, TwoRanks(0, 2))
    again.check()
    assert not (tmp_path / ".earlier.failed.1.json").exists()


def test_an_error_of_another_process_is_raised_by_the_first(two, capsys) -> None:
    two[0].check()
    with pytest.raises(InputError), two[1].reported():
        raise InputError("image a.png is damaged")
    with pytest.raises(InputError, match=r"^image a\.png is damaged$"):
        two[0].check()
    assert capsys.readouterr().err == ""


def test_a_bug_of_another_process_keeps_its_traceback(two, capsys) -> None:
    with pytest.raises(ZeroDivisionError), two[1].reported():
        _ = 1 / 0
    assert "ZeroDivisionError" in capsys.readouterr().err
    with pytest.raises(InputError, match="process 1 of the evaluation failed: its traceback is above"):
        two[0].check()


@pytest.mark.parametrize(("stop", "name"), [(Stopped(signal.SIGTERM), "SIGTERM"), (KeyboardInterrupt(), "Ctrl-C")])
def test_a_signal_to_another_process_alone_ends_the_first(stop, name, two) -> None:
    with pytest.raises(type(stop)), two[1].reported():
        raise stop
    with pytest.raises(InputError, match=f"process 1 of the evaluation was stopped by {name}"):
        two[0].check()


def test_a_process_that_was_killed_is_noticed(tmp_path) -> None:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    exchange = Exchange(tmp_path, TwoRanks(0, 2, started=(process,)))
    exchange.check()
    process.kill()
    process.wait()
    with pytest.raises(InputError, match="process 1 of the evaluation ended with code -9, perhaps because memory"):
        exchange.check()


def test_nothing_is_left_behind(tmp_path: Path, two) -> None:
    with two[0].reported():
        two[0].from_main(lambda: 1)
    assert not list(tmp_path.iterdir())


def test_one_process_exchanges_nothing(tmp_path: Path) -> None:
    alone = Exchange(tmp_path / "journal", dataclasses.replace(Ranks(), device="cpu"))
    assert alone.from_main(lambda: (1,)) == (1,)
    alone.check()
    assert not list(tmp_path.iterdir())
