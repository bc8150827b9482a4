"""CPU-bound work in threads beside the network: images are read ahead of it, and results are written behind it.

Threads suffice: decoding, resizing and compression in Pillow, and NumPy's arithmetic, run without Python's lock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

from opsnet.prediction.images import NetworkSize, SourceImage, resized
from opsnet.prediction.sources import Loader
from opsnet.utils.errors import InputError

MOST_BYTES = 1 << 29
"""Of images that are read ahead, and of results that wait to be written."""
Read = tuple[int, SourceImage | InputError]


def read_ahead(
    images: Iterable[tuple[int, Loader]], threads: int, ahead: int, size: NetworkSize | None = None
) -> Generator[Read, None, None]:
    """Yields images in their order, or why one cannot be read.

    Args:
        images: numbers and loaders.
        threads: number of threads; 0: each image is read when it is asked for.
        ahead: number of images that are read before they are asked for.
        size: the network's, to which images are resized too; ``None``: they are not.
    """
    read = partial(_read, size)
    if not threads:
        yield from (read(*image) for image in images)
        return
    pending: deque[Future[Read]] = deque()
    pool, most = ThreadPoolExecutor(threads, "read"), 0  # nothing is read ahead before the size of the first is known
    try:
        for image in images:
            pending.append(pool.submit(read, *image))
            while len(pending) > most:
                found = pending.popleft().result()
                taken = found[1].pixels.nbytes if isinstance(found[1], SourceImage) else 1
                most = min(ahead, MOST_BYTES // taken)
                yield found
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _read(size: NetworkSize | None, number: int, load: Loader) -> Read:
    try:
        image = load()
        ready = None if size is None else resized(image.pixels, size)
        return number, replace(image, number=number, resized=ready)
    except InputError as error:
        return number, error


class Background:
    """Calls functions in threads; as a context it ends when all are done, with the error of one that failed.

    Args:
        threads: number of threads; 0: functions are called at once.
    """

    def __init__(self, threads: int) -> None:
        self._pool = ThreadPoolExecutor(threads, "write") if threads else None
        self._pending: deque[tuple[Future[Any], int]] = deque()
        self._most = 2 * threads

    def __enter__(self) -> Background:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown()
        while self._pending:
            with suppress(*([Exception] if kind else [])):  # the first error is the one to report
                self._pending.popleft()[0].result()

    def call(self, function: Callable[..., Any], *args: Any, size: int = 0, **kwargs: Any) -> None:
        """Calls a function, once there is room.

        Args:
            function: with its arguments.
            size: bytes that its arguments hold.

        Raises:
            Exception: that of an earlier call.
        """
        if self._pool is None:
            function(*args, **kwargs)
            return
        while self._pending and (self._is_full(size) or self._pending[0][0].done()):
            self._pending.popleft()[0].result()
        self._pending.append((self._pool.submit(function, *args, **kwargs), size))

    def _is_full(self, size: int) -> bool:
        return len(self._pending) >= self._most or sum(held for _, held in self._pending) + size > MOST_BYTES
