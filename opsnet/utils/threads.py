"""A function on many items in threads, for work that releases the GIL, such as decoding."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def map_in_threads(function: Callable[[T], R], items: Iterable[T], threads: int = 4) -> Iterator[R]:
    """Yields ``function(item)`` for each item, in order; at most a few results wait to be taken, however many items.

    Args:
        function: releases the GIL for most of its time; an exception is raised in its turn and ends the iteration.
        items: read as needed.
        threads: at most; no more than there are cores.
    """
    threads = min(threads, os.cpu_count() or 1)
    remaining = iter(items)
    with ThreadPoolExecutor(threads) as pool:
        started = deque(pool.submit(function, item) for item in islice(remaining, 2 * threads))
        while started:
            result = started.popleft().result()
            started.extend(pool.submit(function, item) for item in islice(remaining, 1))
            yield result
