"""A function on many items in copies of this process, which start in milliseconds and share its memory."""

from __future__ import annotations

import os
import pickle
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, BinaryIO, NamedTuple, TypeVar

from opsnet.utils.errors import DatasetError
from opsnet.utils.stop_signals import begin_worker

T = TypeVar("T")
R = TypeVar("R")


def can_fork() -> bool:
    """Whether copies of this process work: not where threads may hold locks, as torch's do."""
    return sys.platform == "linux" and "torch" not in sys.modules


def map_in_forks(
    function: Callable[[T], R], items: Sequence[T], processes: int, *, fix: str,
    begin: Callable[[], object] = lambda: None,
) -> Iterator[R]:  # fmt: skip
    """Yields ``function(item)`` for each item, in order; the copies begin at once.

    Unlike :func:`opsnet.utils.processes.map_in_processes`, neither the function nor its items are copied, and nothing
    needs to be imported. Each process, of which this is the first, has every n-th item.

    Args:
        function: its results can be pickled; an exception is raised in its turn and ends the iteration.
        items: of similar work.
        processes: how many, with this one.
        fix: what to do if one was killed, the end of the message.
        begin: called at the start of each copy.

    Raises:
        DatasetError: a copy was killed.
    """
    sys.stdout.flush()  # a copy would print it again
    processes = min(processes, len(items))
    forks = [_fork(function, items[number::processes], begin) for number in range(1, processes)]
    return _results(function, items, forks, fix)


class _Fork(NamedTuple):
    """A process and the pipe of its results."""

    pid: int
    results: BinaryIO


def _fork(function: Callable[[T], R], items: Sequence[T], begin: Callable[[], object]) -> _Fork:
    reading, writing = os.pipe()
    if pid := os.fork():
        os.close(writing)
        return _Fork(pid, os.fdopen(reading, "rb"))
    try:  # never returns, whatever happens: the code of the parent is not this process's to go on with
        os.close(reading)
        begin_worker()
        begin()
        with os.fdopen(writing, "wb") as pipe:
            for item in items:
                pipe.write(_outcome(function, item))
                pipe.flush()
    finally:
        os._exit(0)


def _outcome(function: Callable[[T], R], item: T) -> bytes:
    """The pickled result and error of an item, one of which is ``None``."""
    try:
        return pickle.dumps((function(item), None), pickle.HIGHEST_PROTOCOL)
    except Exception as error:
        try:
            return pickle.dumps((None, error))
        except Exception:  # an error of a library with an argument that cannot be pickled
            return pickle.dumps((None, RuntimeError(f"{type(error).__name__}: {error}")))


def _results(function: Callable[[T], R], items: Sequence[T], forks: list[_Fork], fix: str) -> Iterator[R]:
    try:
        for index, item in enumerate(items):
            share = index % (1 + len(forks))
            yield _receive(forks[share - 1], fix) if share else function(item)
    finally:
        for fork in forks:
            fork.results.close()
            os.kill(fork.pid, signal.SIGKILL)  # one that has ended is still there until it is waited for
            os.waitpid(fork.pid, 0)


def _receive(fork: _Fork, fix: str) -> Any:
    """The next result of a copy."""
    try:
        result, error = pickle.load(fork.results)
    except (EOFError, pickle.UnpicklingError):
        raise DatasetError(f"a worker process was killed, perhaps because memory was full: {fix}") from None
    if error is not None:
        raise error
    return result
