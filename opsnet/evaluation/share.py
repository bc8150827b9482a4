"""This process's share of the batches of a domain, and the results of all processes."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path

from opsnet.evaluation.domains import DomainEvaluation
from opsnet.evaluation.exchange import POLL
from opsnet.evaluation.journal import Journal, JournalError, new_parts
from opsnet.evaluation.scoring import Scoring
from opsnet.evaluation.sources import Source
from opsnet.metrics.merging import add_state
from opsnet.utils.stop_signals import Stopped, stop_handler


def share_of(batches: int, covered: Sequence[int], rank: int, count: int) -> list[int]:
    """The batches that a process scores: every ``count``-th of those that are not covered, in their order."""
    done = set(covered)
    return [index for index in range(batches) if index not in done][rank::count]


def score_share(
    name: str, source: Source, chosen: Sequence[int], scoring: Scoring, *, check: Callable[[], None], show: bool
) -> None:
    """Scores some batches of a domain and writes them to the journal; also what is scored when it is stopped.

    Args:
        name: the domain's name.
        source: its batches.
        chosen: indices of the batches.
        scoring: scores them.
        check: called after each; raises an error of other processes.
        show: whether to show the progress.

    Raises:
        KeyboardInterrupt, Stopped: after a signal and the batch that is being scored; the second one at once.
    """
    from rich.progress import track

    firsts = [last - size for last, size in zip(accumulate(source.sizes), source.sizes)]
    with _between_batches() as stop_if_asked:
        batches = source.read(chosen)
        try:
            for index in track(chosen, description=f"Evaluating {name}", disable=not show):
                scoring.add(index, next(batches), firsts[index])
                stop_if_asked()
                check()
        finally:
            scoring.close()


def merge(evaluation: DomainEvaluation, journal: Journal, batches: int, check: Callable[[], None]) -> None:
    """Adds the parts of all processes to an evaluation of zero images, waiting for those that are not written yet.

    Raises:
        JournalError: a part is damaged, or two have the same batch.
        InputError: another process failed.
    """
    covered: set[int] = set()
    seen: set[Path] = set()
    while True:
        for part in new_parts(journal, evaluation.name, seen):
            if covered & set(part.batches):
                raise JournalError(f"{journal.folder} has a batch of {evaluation.name} twice: delete this folder")
            add_state(evaluation.parts, part.state)
            covered.update(part.batches)
        if len(covered) == batches:
            return
        check()
        time.sleep(POLL)


@contextmanager
def _between_batches() -> Iterator[Callable[[], None]]:
    """A context in which the first signal is noted; the function that it yields raises it, and a second one too."""
    received: list[signal.Signals] = []

    def raise_it() -> None:
        if received:
            if received[0] == signal.SIGINT:
                raise KeyboardInterrupt
            raise Stopped(received[0])

    def note(number: signal.Signals) -> None:
        received.append(number)
        if len(received) > 1:
            raise_it()

    with stop_handler(note):
        yield raise_it
