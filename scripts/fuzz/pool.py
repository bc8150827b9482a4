"""Runs ranges of cases in forked processes, which are killed when one hangs, and replaced."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from scripts.fuzz.judge import Judge, Verdict
from scripts.fuzz.targets import Target

HANGS_AFTER = 4.0
"""Times the limit, by the clock: a case that waits or is slow on a busy machine is killed only then."""
_FORK = multiprocessing.get_context("fork")


@dataclass
class Chunk:
    """A range of seeds of one target and its verdicts, by seed."""

    target: Target
    first: int
    count: int
    verdicts: dict[int, Verdict] = field(default_factory=dict)


@dataclass
class _Worker:
    """A process with its chunk, the pipe it writes to, and the case it is at."""

    process: Any
    pipe: Connection
    chunk: Chunk
    place: int
    seed: int = -1
    since: float = field(default_factory=time.monotonic)


class Pool:
    """Processes that judge cases.

    Args:
        folder: for temporary files.
        workers: number of processes.
        seconds, gigabytes: limits of a case.
    """

    def __init__(self, folder: Path, workers: int, seconds: float, gigabytes: float) -> None:
        self.folder, self.workers, self.seconds, self.gigabytes = folder, workers, seconds, gigabytes
        self._running: list[_Worker] = []

    def run(self, chunks: Iterable[Chunk]) -> Iterator[Chunk]:
        """Yields the chunks as they are finished."""
        left = iter(chunks)
        try:
            while True:
                while len(self._running) < self.workers and (chunk := next(left, None)) is not None:
                    self._start(chunk, chunk.first, self._free_place())
                if not self._running:
                    return
                yield from self._look()
        finally:
            for worker in self._running:
                _kill(worker)

    def _free_place(self) -> int:
        return min(set(range(self.workers)) - {worker.place for worker in self._running})

    def _start(self, chunk: Chunk, first: int, place: int) -> None:
        ours, theirs = _FORK.Pipe(duplex=False)
        judge = Judge(self.folder / f"worker{place}", self.seconds, self.gigabytes)
        process = _FORK.Process(
            target=_work, args=(theirs, judge, chunk.target, range(first, chunk.first + chunk.count))
        )
        process.start()
        theirs.close()
        self._running.append(_Worker(process, ours, chunk, place))

    def _look(self) -> Iterator[Chunk]:
        """Takes what the processes say, and replaces one that hangs or died."""
        wait([worker.pipe for worker in self._running], timeout=0.5)
        for worker in list(self._running):
            is_over = self._take(worker)
            if is_over or time.monotonic() - worker.since > HANGS_AFTER * self.seconds:
                self._running.remove(worker)
                _kill(worker)
                yield from self._finish(worker, is_over)

    def _take(self, worker: _Worker) -> bool:
        """Reads what a process has written; whether it has ended."""
        try:
            while worker.pipe.poll():
                seed, verdict = worker.pipe.recv()
                worker.since = time.monotonic()
                worker.seed = seed
                if verdict is not None:
                    worker.chunk.verdicts[seed] = verdict
        except EOFError:
            return True
        return False

    def _finish(self, worker: _Worker, is_over: bool) -> Iterator[Chunk]:
        chunk, seed = worker.chunk, worker.seed
        if len(chunk.verdicts) == chunk.count:
            yield chunk
            return
        seconds = time.monotonic() - worker.since
        kind = "died" if is_over else "hang"
        at = max(seed, chunk.first)
        if at in chunk.verdicts:  # it died between two cases
            at += 1
        chunk.verdicts[at] = Verdict(kind, f"exit code {worker.process.exitcode} after {seconds:.1f} s", seconds)
        if at + 1 < chunk.first + chunk.count:
            self._start(chunk, at + 1, worker.place)
        else:
            yield chunk


def _kill(worker: _Worker) -> None:
    if worker.process.is_alive():
        os.kill(worker.process.pid, signal.SIGKILL)
    worker.process.join()
    worker.pipe.close()


def _work(pipe: Connection, judge: Judge, target: Target, seeds: range) -> None:
    judge.prepare()
    for seed in seeds:
        pipe.send((seed, None))
        pipe.send((seed, judge.judge(target, seed)))
    pipe.close()
    os._exit(0)  # threads that a reader left behind do not keep the process
