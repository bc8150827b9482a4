"""The entries of a .tar from anyone: only headers are read, in bounded pieces, and damage is an error.

``tarfile`` reads as much as a header claims, takes a damaged header for the end of the file, and a negative size for a
way back (CVE-2025-8194).
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path

LARGEST_READ = 2**20
"""Bytes of a header with its extensions, and of anything else that is read at once."""


class TarDamageError(ValueError):
    """A .tar is damaged; the message continues after its path."""


class BoundedFile:
    """A file of which little is read at once, whatever its headers claim.

    Args:
        path: of the file.

    Raises:
        OSError: it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self.seek, self.tell = self._file.seek, self._file.tell

    def read(self, size: int = -1) -> bytes:
        """The next ``size`` bytes.

        Raises:
            TarDamageError: ``size`` is negative or above :data:`LARGEST_READ`.
        """
        if not 0 <= size <= LARGEST_READ:
            raise TarDamageError(f"has a header with a length of {size:,} bytes at byte {self.tell():,}")
        return self._file.read(size)

    def __enter__(self) -> BoundedFile:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()


def tar_members(file: BoundedFile) -> Iterator[tarfile.TarInfo]:
    """Yields the entries of an uncompressed .tar up to its end mark; the file's position is free meanwhile.

    Raises:
        TarDamageError: an entry is damaged, or the end is missing.
        Exception: it is no .tar: whatever tarfile's parsing stumbles over.
    """
    with tarfile.open(fileobj=file, mode="r:", encoding="utf-8", errors="surrogateescape") as tar:  # type: ignore[call-overload]
        end = 0
        while (member := tar.next()) is not None:
            if member.size < 0 or member.offset < end:
                raise TarDamageError(f"has an entry of {member.size:,} bytes at byte {end:,}")
            end = member.offset_data + member.size
            tar.members = []  # otherwise it keeps them all
            yield member
        file.seek(tar.offset)
        if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise TarDamageError(f"is cut off or damaged at byte {tar.offset:,}")
