"""The parts of a prediction that is not complete: which images are written, by each rank, and from what.

``<output>/parts/`` has ``made_from.json`` and a file of json lines per rank, a line per image whose files are complete.
A prediction that was stopped or killed continues from them; they are removed once all images are predicted.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from opsnet.prediction.image_writing import WrittenImage
from opsnet.utils.errors import InputError
from opsnet.utils.files import WriteError, make_folder, write_error, write_json

FOLDER, MADE_FROM = "parts", "made_from.json"
Stamp = Any
"""What tells a file from its earlier content, see :meth:`opsnet.prediction.sources.ImageSource.stamp`."""


class Parts:
    """The parts in an output folder.

    Args:
        output: of the prediction.
        rank: of this process.
        stamp: the state of an image's file; images that have changed are predicted again.
    """

    def __init__(self, output: Path, rank: int = 0, stamp: Callable[[int], Stamp] = lambda number: None) -> None:
        self.folder, self._stamp = output / FOLDER, stamp
        self._path, self._has_categories = self.folder / f"{rank}.jsonl", False

    def exist(self) -> bool:
        """Whether there is a prediction that is not complete."""
        return (self.folder / MADE_FROM).is_file()

    def require_same(self, made_from: Mapping[str, str]) -> None:
        """Checks that parts, if there are any, were made from the same.

        Raises:
            InputError: something differs; the message states what.
        """
        if not self.exist():
            return
        stored: Any = None
        with suppress(OSError, ValueError):
            stored = json.loads((self.folder / MADE_FROM).read_text(encoding="utf-8"))
        stored = stored if isinstance(stored, dict) else {}
        if different := [key for key in {**stored, **made_from} if stored.get(key) != made_from.get(key)]:
            raise InputError(
                f"output {self.folder.parent} has a prediction that is not complete, made with other settings "
                f"({', '.join(different)}): give the same to continue it, another output, or overwrite=true to replace "
                "it"
            )

    def start(self, made_from: Mapping[str, str]) -> None:
        """Makes the folder; one rank does it for all.

        Raises:
            WriteError: it cannot be made or written.
        """
        make_folder(self.folder)
        write_json(self.folder / MADE_FROM, dict(made_from))

    def add(self, number: int, image: WrittenImage, categories: list[dict[str, Any]]) -> None:
        """Notes an image whose files are complete.

        Args:
            number: its place among all.
            image: what was written.
            categories: the vocabulary's, noted with the first.

        Raises:
            WriteError: the disk is full or cannot be written, or the folder was removed.
        """
        lines: list[dict[str, Any]] = [] if self._has_categories else [{"categories": categories}]
        lines.append({"number": number, "stamp": self._stamp(number), **asdict(image)})
        text = "".join(json.dumps(line) + "\n" for line in lines)
        try:
            with self._path.open("ab") as file:
                # A killed process may have left half a line, which readers skip.
                file.write(("\n" * (not self._has_categories) + text).encode())
        except OSError as error:
            raise write_error(self._path, error.strerror or str(error)) from error
        self._has_categories = True

    def read(self) -> tuple[list[dict[str, Any]] | None, dict[int, WrittenImage]]:
        """The categories, and the images of all ranks by number, of which those whose files have changed are left out.

        Raises:
            WriteError: the folder was removed meanwhile.
        """
        categories, images = None, {}
        if not self.exist():
            raise WriteError(f"{self.folder} was removed while images were written: start again")
        for path in sorted(self.folder.glob("*.jsonl")):
            for line in _whole_lines(path):
                if "categories" in line:
                    categories = line["categories"]
                elif line.pop("stamp") == self._stamp(number := line.pop("number")):
                    images[number] = WrittenImage(**line)
        return categories, images

    def remove(self) -> None:
        """Removes the parts."""
        (self.folder / MADE_FROM).unlink(missing_ok=True)  # first, so that half of them are none
        shutil.rmtree(self.folder, ignore_errors=True)


def _whole_lines(path: Path) -> list[dict[str, Any]]:
    found = []
    for text in path.read_bytes().split(b"\n"):
        with suppress(ValueError):  # half a line
            line = json.loads(text)
            found += [line] if isinstance(line, dict) else []
    return found
