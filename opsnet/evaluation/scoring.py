"""Where batches are scored: in this process, or in worker processes beside the network.

Workers score on the CPU, while this process runs the network on the next batches. Each writes its own parts of the
journal, so nothing comes back.
"""

from __future__ import annotations

import queue
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import multiprocessing

from opsnet.evaluation.domains import DomainEvaluation
from opsnet.evaluation.journal import OpenPart
from opsnet.evaluation.sources import EvaluatedBatch
from opsnet.utils.errors import InputError, sentence_of
from opsnet.utils.stop_signals import begin_worker

WAITING = 2
"""Batches per worker that wait for it; more would only fill the memory."""


@contextmanager
def scoring_processes(count: int, folder: Path, every: float) -> Iterator[Callable[[DomainEvaluation], Scoring]]:
    """Starts worker processes, and ends them with the context.

    Args:
        count: number of workers; 0: this process scores.
        folder: of the journal.
        every: seconds between two parts.

    Yields:
        What begins to score the batches of a domain.
    """
    if not count:
        yield lambda evaluation: OwnScoring(evaluation, folder, every)
        return
    workers = ScoringWorkers(count, folder, every)
    try:
        yield workers.open
    finally:
        workers.end()


class Scoring(Protocol):
    """Scores the batches of one domain."""

    def add(self, index: int, batch: EvaluatedBatch, first: int) -> None:
        """Scores a batch.

        Args:
            index: of the batch.
            batch: the network's output and the ground truth.
            first: position of its first image in the dataset.
        """

    def close(self) -> None:
        """Writes what is scored to the journal."""


class OwnScoring:
    """Scores in this process.

    Args:
        evaluation: of the domain, and of zero images.
        folder: of the journal.
        every: seconds between two parts.
    """

    def __init__(self, evaluation: DomainEvaluation, folder: Path, every: float) -> None:
        self.evaluation, self.part = evaluation, OpenPart(folder / evaluation.name, evaluation.parts, every)

    def add(self, index: int, batch: EvaluatedBatch, first: int) -> None:
        """See :class:`Scoring`."""
        with self.part.batch(index):
            self.evaluation.score(batch, first)

    def close(self) -> None:
        """See :class:`Scoring`."""
        self.part.write()


class ScoringWorkers:
    """Worker processes that score one domain after the other.

    Args:
        count: number of processes.
        folder: of the journal.
        every: seconds between two parts.
    """

    def __init__(self, count: int, folder: Path, every: float) -> None:
        context = multiprocessing.get_context("spawn")  # a process with threads or CUDA cannot be forked
        self._done = context.Queue()
        self._queues = [context.Queue(WAITING) for _ in range(count)]
        self._processes = [
            context.Process(target=_work, args=(own, self._done, folder, every), daemon=True) for own in self._queues
        ]
        self._failed, self._completed = False, 0
        for process in self._processes:
            process.start()

    def open(self, evaluation: DomainEvaluation) -> Scoring:
        """Begins a domain; its evaluation itself stays as it is."""
        for own in self._queues:
            self._put([own], (evaluation.name, evaluation.domain.to("cpu"), evaluation.dataset, evaluation.plan))
        return self

    def add(self, index: int, batch: EvaluatedBatch, first: int) -> None:
        """See :class:`Scoring`; waits until a worker has room for it."""
        self._put(self._queues, (index, batch.to("cpu"), first))
        self._queues.append(self._queues.pop(0))  # the next one first

    def close(self) -> None:
        """See :class:`Scoring`; waits for the workers.

        Raises:
            InputError: one failed.
        """
        if self._failed:
            return
        for own in self._queues:
            self._put([own], None)
        while self._completed < len(self._processes):
            self._look(timeout=0.1)
        self._completed = 0

    def end(self) -> None:
        """Ends the processes."""
        for process in self._processes:
            process.kill()

    def _put(self, queues: Sequence[Any], item: Any) -> None:
        while True:
            for own in queues:
                with suppress(queue.Full):
                    own.put(item, timeout=0.05)
                    return
            self._look()

    def _look(self, timeout: float = 0.0) -> None:
        """Counts a worker that has completed the domain, also while others still wait for their end of it.

        Raises:
            InputError: one failed.
        """
        try:
            sentence = self._done.get(timeout=timeout) if timeout else self._done.get_nowait()
        except queue.Empty:
            codes = [process.exitcode for process in self._processes if process.exitcode is not None]
            self._failed = bool(codes)
            if codes:
                raise InputError(
                    f"a worker that scores ended with code {codes[0]}, perhaps because memory or /dev/shm was full: "
                    "run the same command again to continue, with fewer score_workers"
                ) from None
            return
        self._failed = sentence is not None
        if sentence is not None:
            raise InputError(sentence)
        self._completed += 1


def _work(tasks: Any, done: Any, folder: Path, every: float) -> None:
    """Scores what comes; ends with its parent."""
    begin_worker()
    torch.set_num_threads(1)
    while True:
        try:
            name, names, dataset, plan = tasks.get()
            evaluation = DomainEvaluation(name, names, dataset, plan)
            scoring = OwnScoring(evaluation, folder, every)
            try:
                while (task := tasks.get()) is not None:
                    scoring.add(*task)
            finally:
                scoring.close()
            done.put(None)
        except Exception as error:
            if (sentence := sentence_of(error)) is None:
                traceback.print_exc()
                sentence = "a worker that scores failed: its traceback is above"
            done.put(sentence)
            return
