"""Starts a command, stops it in the middle of its work, and finds every process that it left running (Linux only)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PLANTED = Path(__file__).resolve().parent / "planted"
"""Folder of the ``sitecustomize`` that changes the clock or a loss of a child process."""
TOKEN = "OPSNET_FAULTS_TOKEN"
"""Environment variable by which the processes of a command are found, also after their parent has ended."""
GRACE = 15.0
"""Seconds in which the children of a command must end after it; PyTorch's workers look every 5 seconds."""


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
        code: exit code, negative for a signal; ``None``: it was stopped, because it ran too long.
        text: its stdout and stderr.
        left: command lines of processes that were still running ``GRACE`` seconds after it.
        seconds: duration.
    """

    code: int | None
    text: str
    left: tuple[str, ...] = ()
    seconds: float = 0.0


class Command:
    """A running command with stdout and stderr in one file.

    Args:
        arguments: module and arguments for ``python -m``.
        log: file for its output.
        temporary: its ``TMPDIR``.
        environment: further variables, which tell ``planted/sitecustomize.py`` what to do.
    """

    def __init__(
        self, arguments: Sequence[str], *, log: Path, temporary: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self.log, self.token = log, uuid.uuid4().hex
        temporary.mkdir(parents=True, exist_ok=True)
        paths = [*([str(PLANTED)] if environment else []), str(ROOT), os.environ.get("PYTHONPATH", "")]
        own = {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "TMPDIR": str(temporary), TOKEN: self.token}
        own |= {"OMP_NUM_THREADS": "1", "OPSNET_CACHE": str(temporary.parent / "cache"), "CUDA_VISIBLE_DEVICES": ""}
        self._start = time.monotonic()
        with log.open("wb") as out:
            self._process = subprocess.Popen(
                [sys.executable, "-m", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env={**os.environ, **own, **(environment or {})},
                cwd=temporary.parent,
                start_new_session=True,
                preexec_fn=_default_signals,
            )

    @property
    def pid(self) -> int:
        """The process that was started."""
        return self._process.pid

    def text(self) -> str:
        """The output so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def has_ended(self) -> bool:
        """Whether the process that was started has ended."""
        return self._process.poll() is not None

    def processes(self) -> list[int]:
        """This command's processes: the one that was started, its workers, jobs, and those that outlived a parent."""
        mark = f"{TOKEN}={self.token}".encode()
        return [pid for pid in _pids() if mark in _read(pid, "environ").split(b"\0")]

    def workers(self) -> list[int]:
        """Processes that do a part of the work of another: forked from it, or started by ``multiprocessing``."""
        own = self.processes()
        lines = {pid: _read(pid, "cmdline") for pid in own}
        return [
            pid for pid in own
            if (lines[pid] and lines.get(_parent(pid)) == lines[pid]) or b"multiprocessing.spawn" in lines[pid]
        ]  # fmt: skip

    def signal_all(self, number: signal.Signals) -> None:
        """Sends a signal to each of the processes."""
        for pid in self.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def wait(self, seconds: float) -> Ended:
        """Waits for the end; what then still runs is noted and killed."""
        code: int | None = None
        with suppress(subprocess.TimeoutExpired):
            code = self._process.wait(seconds)
        until = time.monotonic() + (GRACE if code is not None else 0)
        while self.processes() and time.monotonic() < until:
            time.sleep(0.1)
        left = tuple(_read(pid, "cmdline").replace(b"\0", b" ").decode(errors="replace") for pid in self.processes())
        self.signal_all(signal.SIGKILL)
        self._process.wait()
        return Ended(code, self.text(), left if code is not None else (), time.monotonic() - self._start)


def _default_signals() -> None:
    """Shells start background processes with SIGINT ignored, which children would inherit."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


def _pids() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def _read(pid: int, name: str) -> bytes:
    """A file of a process in /proc; empty if it has ended, also if nobody has waited for it yet."""
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""


def _parent(pid: int) -> int:
    fields = _read(pid, "stat").rpartition(b") ")[2].split()
    return int(fields[1]) if fields else 0
