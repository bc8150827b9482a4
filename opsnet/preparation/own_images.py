"""Finds the images that labels name: by their path in the folder of the images, or by the name of the file alone."""

from __future__ import annotations

import re
import reprlib
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from opsnet.data.panoptic_records import file_name
from opsnet.preparation.own_files import IMAGE_SUFFIXES
from opsnet.utils.errors import InputError

BY_NAME = "give --by-name to look for images by the name of the file alone, in subfolders too"
_UPLOAD_PREFIX = re.compile(r"[0-9a-f]{8}-(?=.)")  # Label Studio's, of an uploaded file


class ImageFolder:
    """The images of a folder.

    Args:
        folder: searched with its subfolders.
        by_name: whether to ignore the folders in the names that labels have, and Label Studio's upload prefixes.

    Raises:
        InputError: the folder does not exist.
    """

    def __init__(self, folder: Path, *, by_name: bool = False) -> None:
        if not folder.is_dir():
            raise InputError(f"folder {folder} does not exist: check the path")
        self.folder, self.by_name = folder, by_name
        self._named: dict[str, list[PurePosixPath]] = {}
        if by_name:
            for path in sorted(p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES):
                self._named.setdefault(path.name, []).append(PurePosixPath(path.relative_to(folder).as_posix()))

    def find(self, name: Any, where: str) -> str:
        """The path of an image relative to the folder.

        Args:
            name: as the labels have it; Windows separators are read as such.
            where: file and entry, for messages.

        Raises:
            InputError: it is not a name, leaves the folder, does not exist, or there are two of that name.
        """
        if self.by_name:
            return self._find_by_name(name, where)
        try:
            relative = file_name(with_slashes(name) if isinstance(name, str) else name)
        except TypeError as error:
            raise InputError(
                f"{where} has file_name {reprlib.repr(name)}, not {error}: correct it, or {BY_NAME}"
            ) from None
        if not (self.folder / relative).is_file():
            raise InputError(f"{self.folder / relative} does not exist, which {where} names: add it, or {BY_NAME}")
        return PurePosixPath(relative).as_posix()

    def _find_by_name(self, name: Any, where: str) -> str:
        if not isinstance(name, str):
            raise InputError(f"{where} has {reprlib.repr(name)} as its image: give a name")
        for candidate in candidates(name):
            found = self._named.get(candidate, [])
            if len(found) > 1:
                raise InputError(
                    f"{self.folder} has {found[0]} and {found[1]}, and {where} names {candidate}: keep one"
                )
            if found:
                return found[0].as_posix()
        raise InputError(f"{self.folder} has no image {candidates(name)[0]}, which {where} names: add it")


def with_slashes(name: str) -> str:
    """A path with Windows separators as one with slashes."""
    return PureWindowsPath(name).as_posix() if "\\" in name else name


def candidates(name: str) -> list[str]:
    """File names that a path or address may mean: as it stands, without escapes, without an upload prefix."""
    address = urlsplit(name) if "://" in name or name.startswith("/data/") else None
    if address is not None:  # Label Studio's local files are an argument: /data/local-files/?d=folder/cat.jpg
        name = parse_qs(address.query).get("d", [address.path])[0]
    last = with_slashes(name).rpartition("/")[2]
    plain = list(dict.fromkeys((last, unquote(last))))
    return list(dict.fromkeys([*plain, *(_UPLOAD_PREFIX.sub("", text, count=1) for text in plain)]))
