"""Notices what must not happen while a file of somebody else is read: programs, connections, files outside a folder."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SECRET = "secret-0451"
"""Value of the environment variable ``CANARY_SECRET``, and content of a private file."""
FORBIDDEN = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "socket.connect",
             "socket.getaddrinfo", "urllib.Request", "ctypes.dlopen")  # fmt: skip
CHANGES = {"os.remove": 0, "os.rmdir": 0, "os.mkdir": 0, "os.chmod": 0, "os.truncate": 0, "os.rename": 1,
           "shutil.rmtree": 0, "os.symlink": 1, "os.link": 1}  # fmt: skip
"""Audit events, and which of their arguments is changed."""
_busy = threading.local()
_watches: list[tuple[Path, Path, list[str]]] = []


@contextmanager
def watched(allowed: Path, private: Path) -> Iterator[list[str]]:
    """A context that yields the list of what happens in it and must not.

    Args:
        allowed: folder in which files may be written.
        private: file or folder that must not be opened.
    """
    if not getattr(sys, "_opsnet_canaries", False):  # an audit hook cannot be removed
        sys.addaudithook(_hook)
        sys._opsnet_canaries = True  # type: ignore[attr-defined]
    found: list[str] = []
    _watches.append((allowed.resolve(), private.resolve(), found))
    try:
        yield found
    finally:
        _watches.pop()


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if not _watches or getattr(_busy, "now", False):
        return
    _busy.now = True  # what follows raises events of its own
    try:
        _look(event, arguments, *_watches[-1])
    finally:
        _busy.now = False


def _look(event: str, arguments: tuple[Any, ...], allowed: Path, private: Path, found: list[str]) -> None:
    if event in FORBIDDEN:
        found.append(f"{event} {str(arguments)[:200]}")
    elif event in CHANGES and isinstance(path := arguments[CHANGES[event]], (str, bytes, os.PathLike)):
        name = os.path.abspath(os.fsdecode(path))
        place = Path(os.path.realpath(os.path.dirname(name)), os.path.basename(name))  # a link itself is changed
        if not place.is_relative_to(allowed):
            found.append(f"{event} {os.fsdecode(path)}")
    elif event == "open" and isinstance(arguments[0], (str, bytes, os.PathLike)):
        path, writes = Path(os.path.realpath(os.fsdecode(arguments[0]))), arguments[2] & (os.O_WRONLY | os.O_RDWR)
        is_outside = writes and not path.is_relative_to(allowed) and "__pycache__" not in path.parts
        if path.is_relative_to(private) or (is_outside and path != Path(os.devnull)):
            found.append(f"{'writes' if writes else 'reads'} {path}")
