"""Memory that was freed, but that the C library keeps for reuse.

glibc keeps it in the arena of the thread that asked for it. Images of all sizes in many threads leave gaps that rarely
fit the next one, so that a server grows for minutes after its caches are full. With another C library nothing is done.
"""

from __future__ import annotations

import ctypes
from contextlib import suppress

_MMAP_THRESHOLD, _ARENA_MAX = -3, -8  # options of mallopt(3)
_LARGE = 1 << 20  # bytes; the work on an image asks for a few hundred blocks of this size
_ARENAS = 2


def return_free_memory() -> None:
    """Gives memory that was freed back to the system."""
    with suppress(OSError, AttributeError):  # no malloc_trim
        ctypes.CDLL(None).malloc_trim(0)


def limit_free_memory() -> None:
    """Makes this process keep less of what it frees; for a server, before it starts threads.

    Blocks of a MiB or more are mapped, and go back when they are freed: by itself glibc raises that size, to the
    largest block that was freed so far. The rest is in two arenas instead of eight per core.
    """
    with suppress(OSError, AttributeError):  # no mallopt
        library = ctypes.CDLL(None)
        library.mallopt(_MMAP_THRESHOLD, _LARGE)
        library.mallopt(_ARENA_MAX, _ARENAS)
