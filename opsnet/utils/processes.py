"""A function on many items in processes, for work in Python."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from opsnet.utils.errors import DatasetError
from opsnet.utils.stop_signals import begin_worker

T = TypeVar("T")
R = TypeVar("R")


def map_in_processes(
    function: Callable[[T], R], items: Iterable[T], processes: int, *, fix: str, chunk: int = 1
) -> Iterator[R]:
    """Yields ``function(item)`` for each item, in order.

    Args:
        function: can be pickled, as its items and results; an exception is raised in its turn and ends the iteration.
        items: are all read at the start.
        processes: at most; below 2 this process works alone.
        fix: what to do if one was killed, the end of the message.
        chunk: items that a process is given at a time.

    Raises:
        DatasetError: a process was killed.
    """
    if processes < 2:
        yield from map(function, items)
        return
    with ProcessPoolExecutor(processes, initializer=begin_worker) as pool:
        try:
            yield from pool.map(function, items, chunksize=chunk)
        except BrokenProcessPool as error:
            raise DatasetError(f"a worker process was killed, perhaps because memory was full: {fix}") from error
