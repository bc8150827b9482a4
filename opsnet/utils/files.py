"""Atomic writing of files, so that readers see either the old or the complete new file; and checksums."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from opsnet.utils.errors import InputError

_FULL = tuple(os.strerror(number) for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG))
NAME_BYTES = 200
"""Names of files are cut to this length where something is added to them; most filesystems allow 255 bytes."""


class WriteError(InputError, OSError):
    """A file cannot be written; the message names it, the reason and the fix. The file itself is as it was."""


@contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """A temporary path next to ``path``, renamed to it if the block succeeds and removed otherwise.

    It has the same suffix, for libraries that infer the format from it. Readers and killed processes see the old or the
    new file; a power cut may lose the new one (:func:`replace_durably` waits for the disk, which thousands of small
    files cannot afford).

    Raises:
        WriteError: the disk is full or cannot be written, or a folder cannot be made.
    """
    path = Path(path)
    make_folder(path.parent)
    temporary = path.with_name(f".{shortened(path.stem)}.{os.getpid()}{path.suffix}")
    try:
        yield temporary
        temporary.replace(path)
    except Exception as error:
        if reason := _why_unwritten(error, temporary):
            raise write_error(path, reason) from error
        raise
    finally:
        with suppress(OSError):  # on a read-only disk
            temporary.unlink(missing_ok=True)


def remove_temporaries(folder: Path) -> None:
    """Removes the files that :func:`atomic_path` leaves in a folder when its process is killed."""
    for path in folder.glob(".*"):
        if re.fullmatch(r"\..+\.\d+\.\w+", path.name):
            path.unlink(missing_ok=True)


def _why_unwritten(error: Exception, temporary: Path) -> str:
    """The system's reason for a write that failed; empty for other errors, such as of a file that is read."""
    if type(error).__name__ == "SafetensorError":  # it quotes the system's error
        found = re.search(r'message: "([^"]+)"|I/O error: (.+?) \(os error', str(error))  # two forms, by version
        return found[1] or found[2] if found else ""
    if not isinstance(error, OSError) or isinstance(error, InputError):
        return ""
    about = (None, str(temporary), temporary)
    return (error.strerror or str(error)) if error.filename in about else ""


def make_folder(folder: Path) -> None:
    """Makes a folder and its parents, if they do not exist.

    Raises:
        WriteError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(folder, error.strerror or str(error), "made") from error


def require_writable(folder: Path) -> None:
    """Writes and removes a file, so that a disk that cannot be written is found before anything is computed.

    Raises:
        WriteError: it cannot be written.
    """
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"x")
    except OSError as error:
        raise write_error(folder, error.strerror or str(error)) from error


def write_error(path: Path, reason: str, verb: str = "written") -> WriteError:
    """The error of a file that cannot be written, or of a folder that cannot be made."""
    fix = "make room, or choose another folder" if reason in _FULL else "choose another folder"
    return WriteError(f"{path} cannot be {verb} ({reason}): {fix}")


def shortened(name: str, limit: int = NAME_BYTES) -> str:
    """A file name of at most ``limit`` bytes; the end of a longer one becomes a checksum, so that names stay unique."""
    encoded = os.fsencode(name)
    if len(encoded) <= limit:
        return name
    mark = "~" + hashlib.sha1(encoded, usedforsecurity=False).hexdigest()[:8]
    return encoded[: limit - len(mark)].decode("utf-8", errors="ignore") + mark


def printable(name: str) -> str:
    """A file name that UTF-8 can encode: bytes that are none, which Python keeps as surrogates, become escapes."""
    return name.encode("utf-8", errors="backslashreplace").decode("utf-8")


def replace_durably(temporary: Path, path: Path) -> None:
    """Renames ``temporary`` to ``path`` once its content is on the disk, so that a power cut leaves no empty file."""
    descriptor = os.open(temporary, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    temporary.replace(path)
    with suppress(OSError):  # some filesystems, and Windows, cannot synchronize a folder
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def write_text(path: Path | str, text: str) -> None:
    """Writes ``text`` in UTF-8, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path | str, value: Any) -> None:
    """Writes ``value`` as indented json, atomically."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def checksum(path: Path) -> str:
    """The SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(1 << 20):
            digest.update(part)
    return digest.hexdigest()


def fingerprint(file_or_folder: Path | str) -> str:
    """The first 16 hex digits of the SHA-256 of a file's bytes; of a folder, of its files' names and bytes."""
    path, digest = Path(file_or_folder).expanduser(), hashlib.sha256()
    for part in sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]:
        if part != path:
            digest.update(str(part.relative_to(path)).encode())
        with part.open("rb") as file:
            while block := file.read(2**20):
                digest.update(block)
    return digest.hexdigest()[:16]
