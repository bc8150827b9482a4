"""Processes that do not outlive their parent, and workers that leave stop signals to it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from opsnet.utils.stop_signals import STOP_SIGNALS, set_handlers, stop_handler

ROOT = Path(__file__).parents[2]


def test_handlers_are_restored() -> None:
    before, received = signal.getsignal(signal.SIGUSR1), []
    with stop_handler(received.append):
        for number in STOP_SIGNALS:
            signal.raise_signal(number)
    assert received == list(STOP_SIGNALS)
    assert signal.getsignal(signal.SIGUSR1) == before


def test_other_threads_have_no_handlers() -> None:
    result: list[object] = []
    thread = threading.Thread(target=lambda: result.append(set_handlers({signal.SIGUSR1: signal.SIG_IGN})))
    thread.start()
    thread.join()
    assert result == [{}]


def test_a_worker_outlives_the_signals_to_its_job(tmp_path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from opsnet.utils.stop_signals import begin_worker\n"
        "begin_worker(); Path(sys.argv[1]).touch(); time.sleep(1); Path(sys.argv[1] + '.done').touch()"
    )
    ready = tmp_path / "worker"
    process = subprocess.Popen([sys.executable, "-c", code, str(ready)], cwd=ROOT)
    until = time.monotonic() + 60
    while not ready.exists():
        assert time.monotonic() < until
        time.sleep(0.02)
    for number in STOP_SIGNALS:
        process.send_signal(number)
    assert process.wait(timeout=60) == 0
    assert (tmp_path / "worker.done").exists()


@pytest.mark.parametrize(("error", "shown"), [("EOFError", False), ("ConnectionResetError", False), ("OSError", True)])
def test_a_batch_that_is_not_taken_any_more_is_no_error_of_a_worker(error: str, shown: bool) -> None:
    """Python's thread that hands over a batch prints its errors; the training that stops ends their connection."""
    code = (
        "import sys; from opsnet.utils.stop_signals import begin_worker\nbegin_worker()\n"
        f"try:\n    raise {error}('x')\nexcept OSError as e:\n    sys.excepthook(*sys.exc_info())\n"
        "except EOFError as e:\n    sys.excepthook(*sys.exc_info())"
    )
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert (error in ended.stderr) is shown


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent was killed")
def test_a_process_ends_with_its_parent(tmp_path) -> None:
    child = (
        "import os, sys, time; from pathlib import Path; from opsnet.utils.stop_signals import end_with_parent\n"
        "end_with_parent(); Path(sys.argv[1]).write_text(str(os.getpid())); time.sleep(60)"
    )
    parent = "import subprocess, sys; subprocess.run([sys.executable, '-c', *sys.argv[1:]])"
    pid = tmp_path / "pid"
    process = subprocess.Popen([sys.executable, "-c", parent, child, str(pid)], cwd=ROOT)
    until = time.monotonic() + 60
    while not (pid.is_file() and pid.read_text()):
        assert time.monotonic() < until
        time.sleep(0.02)
    process.kill()
    process.wait()
    number = int(pid.read_text())
    while Path(f"/proc/{number}").exists() and "Z" not in Path(f"/proc/{number}/stat").read_text().rpartition(")")[2]:
        assert time.monotonic() < until
        time.sleep(0.02)
    assert os.getpid() != number
