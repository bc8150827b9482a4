"""Memory that was freed, but is kept by the C library for reuse."""

from __future__ import annotations

import ctypes
from contextlib import suppress


def return_free_memory() -> None:
    """Gives memory that was freed back to the system.

    glibc keeps it in the arena of the thread that asked for it. Images of all sizes in many threads leave gaps that
    rarely fit the next one, and a process that runs for days grows. With another C library nothing is done.
    """
    with suppress(OSError, AttributeError):  # no malloc_trim
        ctypes.CDLL(None).malloc_trim(0)
