"""One log of a run: every line of all its processes with the time of day, also shown in the terminal."""

from __future__ import annotations

import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import IO

_LOGGED = re.compile(r"^\[[\d-]+ [\d:,]+\]\[[\w.]+\]\[(?P<level>[A-Z]+)\] - (?P<text>.*)$")
"""A line of Hydra's log: its time and logger are replaced."""

QUIET = 60.0
"""Seconds without a line after which one says that the phase is still running."""


class RunLog:
    """Appends lines to a file and shows them; processes write through :meth:`writer`.

    Lines that are json (a command's metrics) are only kept in the file. In between, a line a minute says that the phase
    is still running, so that a silent terminal never looks like a stuck one.

    Args:
        path: the file, created with its folder; an interrupted run's log is continued.
        show: prints a line in the terminal.
    """

    def __init__(self, path: Path, show: Callable[[str], None] | None = None, quiet: float = QUIET) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a", encoding="utf-8", buffering=1)
        terminal = sys.stdout
        self._show = show or (lambda line: print(line, file=terminal, flush=True))
        self._quiet, self._phase = quiet, ("", time.monotonic())
        self._lock, self._last = threading.Lock(), time.monotonic()
        self._ended = threading.Event()
        self._readers: list[threading.Thread] = []
        self._beat = threading.Thread(target=self._watch, daemon=True)
        self._beat.start()

    def __enter__(self) -> RunLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._beat.join()
        for reader in self._readers:
            reader.join(timeout=5)
        self._file.close()

    def say(self, text: str, name: str = "") -> None:
        """Writes one line, with the name of the process that it comes from."""
        known = _LOGGED.match(text)
        if known:
            text = known["text"] if known["level"] == "INFO" else f"{known['level'].lower()}: {known['text']}"
        line = f"{datetime.now():%H:%M:%S} {name + ': ' if name else ''}{text}"
        with self._lock:
            self._file.write(line + "\n")
            if not text.startswith("{"):
                self._last = time.monotonic()
                self._show(line)

    def begin(self, phase: str) -> None:
        """Starts a phase, whose name and duration the lines of a silent minute give."""
        self._phase = (phase, time.monotonic())
        self.say(f"--- {phase}")

    @contextmanager
    def writer(self, name: str = "") -> Iterator[IO[str]]:
        """A text file whose lines are written as they come, also by processes that get it as their output."""
        read, write = os.pipe()
        reader = threading.Thread(target=self._read, args=(read, name), daemon=True)
        self._readers.append(reader)
        reader.start()
        with os.fdopen(write, "w", buffering=1, encoding="utf-8") as file:
            yield file

    @contextmanager
    def captured(self) -> Iterator[None]:
        """A context in which what this process prints goes to the log."""
        with self.writer() as file, redirect_stdout(file), redirect_stderr(file):
            yield

    def _read(self, descriptor: int, name: str) -> None:
        with os.fdopen(descriptor, encoding="utf-8", errors="replace") as lines:
            for line in lines:
                if line.strip():
                    self.say(line.rstrip(), name)

    def _watch(self) -> None:
        while not self._ended.wait(min(1.0, self._quiet / 4)):
            phase, start = self._phase
            if phase and time.monotonic() - self._last > self._quiet:
                self.say(f"{phase}: still running, {(time.monotonic() - start) / 60:.1f} minutes so far")
