"""Writes predictions: overlays, COCO's panoptic format, class maps, instances, and a table of all segments."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opsnet.data.panoptic_records import ImageFile
from opsnet.prediction.carriers import PanopticResult
from opsnet.prediction.image_writing import ImageWriter, OutputNames, WrittenImage
from opsnet.prediction.parts import Parts
from opsnet.prediction.tables import write_tables
from opsnet.utils.errors import InputError

PACE = 20
"""The tables are rewritten while images are added, for about 1 / PACE of the time."""


class PredictionWriter:
    """Writes predictions into a folder, image by image, and json and csv files about all images.

    As a context it ends with complete json and csv files, also after an error. They are written in between too, as
    often as takes a twentieth of the time, for a process that is killed. Every file is old or new, never half. Threads
    may add images at the same time.

    Always: ``<name>_overlay.png`` and ``segments.csv``.
    panoptic: ``panoptic/<name>.png`` and ``panoptic.json`` in COCO's format.
    semantic: ``semantic/<name>.png``, 0 for void and n for the n-th category of ``semantic.json``.
    instance: ``instances.json``, COCO's list of results with run-length encoded masks.

    Args:
        folder: created if it does not exist.
        task: one of :data:`opsnet.prediction.task_maps.TASKS`.
        parts: notes each image at once, so that a prediction that was killed can be resumed, and the images of all
            ranks are merged; ``None``: neither.
        is_main: whether this process writes the json and csv files.

    Attributes:
        images: the images whose files are written, by their numbers.

    Raises:
        WriteError: the folder cannot be made or written.
    """

    def __init__(self, folder: Path, task: str, parts: Parts | None = None, *, is_main: bool = True) -> None:
        self.files, self.folder, self.task = ImageWriter(folder, task), folder, task
        self.images: dict[int, WrittenImage] = {}
        self._parts, self._is_main = parts, is_main
        self._categories: list[dict[str, Any]] | None = None
        self._names, self._lock, self._due, self._count = OutputNames(), threading.Lock(), 0.0, 0

    def __enter__(self) -> PredictionWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if not self._is_main:
            return
        with suppress(*([InputError] if kind else [])):  # the first error is the one to report
            self.merge()
            self.finish()

    @property
    def count(self) -> int:
        """Number of images whose files are written."""
        return len(self.images)

    def resume(self) -> None:
        """Takes over the images of an earlier run whose files are still there.

        Raises:
            WriteError: the parts were removed meanwhile.
        """
        self.merge()
        self.images = {number: image for number, image in self.images.items() if self.files.has_files(image)}

    def merge(self) -> None:
        """Adds the images that the parts list and this process has not written, such as those of other ranks.

        Raises:
            WriteError: the parts were removed meanwhile.
        """
        if self._parts is not None:
            categories, images = self._parts.read()
            self._categories, self.images = self._categories or categories, images | self.images

    def add(
        self, image: Path, pixels: NDArray[np.uint8], named: PanopticResult, file: ImageFile | None = None, *,
        number: int | None = None, name: str | None = None,
    ) -> None:  # fmt: skip
        """Writes the files of one image.

        Args:
            image: path of the image, for its name.
            pixels: (H, W, 3).
            named: its map (H, W).
            file: id and file name of the image in json and csv, see :func:`opsnet.prediction.image_ids.image_files`;
                ``None``: its number, and the name of ``image``.
            number: its place in json and csv; ``None``: after those added before.
            name: the beginning of its files' names; ``None``: from ``image``.

        Raises:
            WriteError: the disk is full or cannot be written, or the folder was removed.
        """
        with self._lock:
            number, self._count = (self._count if number is None else number), self._count + 1
            name = self._names.next(image) if name is None else name
        written = self.files.write(name, pixels, named, file or ImageFile(number, image.name))
        with self._lock:
            if self._categories is None:
                self._categories = named.vocabulary.categories()
            if self._parts is not None:
                self._parts.add(number, written, self._categories)
            self.images[number] = written  # only now that its files are complete
            if self._is_main and time.monotonic() >= self._due:
                self._write_tables()

    def finish(self) -> None:
        """Writes the json and csv files for the images so far.

        Raises:
            WriteError: the disk is full or cannot be written, and the files are as they were; or the folder was
                removed.
        """
        with self._lock:
            if self._is_main:
                self._write_tables()

    def _write_tables(self) -> None:
        if self._categories is None:
            return
        self.files.require_folder()
        start = time.monotonic()
        write_tables(self.folder, self.task, self._categories, [image for _, image in sorted(self.images.items())])
        now = time.monotonic()
        self._due = now + PACE * (now - start)
