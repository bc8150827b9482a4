"""Writes predictions: overlays, COCO's panoptic format, class maps, instances, and a table of all segments."""

from __future__ import annotations

import csv
import io
import itertools
import json
import os
import time
import weakref
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from opsnet.data.coco_panoptic import content, image_record, write_annotation
from opsnet.data.panoptic_records import ImageFile, ImageId
from opsnet.prediction import arguments
from opsnet.prediction.carriers import NamedSegment, PanopticResult
from opsnet.prediction.formats import coco_instances, columns_of, dropped_masks, panoptic_segment, row_of, safe_cell
from opsnet.prediction.naming import boxes_of
from opsnet.utils.errors import InputError
from opsnet.utils.files import (
    WriteError,
    atomic_path,
    make_folder,
    printable,
    require_writable,
    shortened,
    write_json,
    write_text,
)
from opsnet.vocabulary import Vocabulary

TASKS = ("panoptic", "semantic", "instance")


def checked_task(task: str) -> str:
    """Validates a task.

    Raises:
        InputError: it is unknown.
    """
    if task not in TASKS:
        raise InputError(f"task must be one of {', '.join(TASKS)}, got '{task}'")
    return task


def for_task(named: PanopticResult, task: str) -> PanopticResult:
    """The map for a task: "semantic" has one segment per class, "instance" only things.

    Raises:
        InputError: the task is unknown.
    """
    if checked_task(task) == "panoptic":
        return replace(named, task=task)
    kept = [s for s in named.segments if s.is_thing or task == "semantic"]
    classes: dict[int, list[NamedSegment]] = {}
    for s in kept:
        classes.setdefault(s.label if task == "semantic" else s.id, []).append(s)
    id_of = torch.zeros(1 + max((s.id for s in named.segments), default=0), dtype=torch.int64)
    merged = []
    for number, parts in enumerate(classes.values(), start=1):
        best, area = max(parts, key=lambda s: s.score), sum(s.area for s in parts)
        id_of[[s.id for s in parts]] = number
        sources = tuple(source for s in parts for source in s.source_ids)
        merged.append(replace(best, id=number, area=area, source_ids=sources))
    ids = id_of.to(named.ids.device)[named.ids]
    boxes = boxes_of(ids, len(merged))
    segments = tuple(replace(s, box=boxes[s.id - 1]) for s in merged)
    return replace(named, ids=ids, segments=segments, task=task)


TABLES = ("segments.csv", "panoptic.json", "semantic.json", "instances.json")
"""What a prediction writes about all images."""
PACE = 20
"""The tables are rewritten while images are added, for about 1 / PACE of the time."""


def check_output(folder: Path, *, overwrite: bool) -> None:
    """Keeps the results of an earlier prediction, and finds a disk that cannot be written before anything is computed.

    Raises:
        InputError: the folder has results that may not be overwritten.
        WriteError: the folder exists and cannot be written.
    """
    if folder.is_dir():
        require_writable(folder)
    earlier = [name for name in TABLES if (folder / name).is_file()]
    if earlier and not overwrite:
        raise InputError(
            f"output {folder} has the results of an earlier prediction ({', '.join(earlier)}): give another output, or "
            "overwrite=true to replace them"
        )


class PredictionWriter:
    """Writes predictions into a folder, image by image, and json and csv files about all images.

    As a context it ends with complete json and csv files, also after an error. They are written in between too, as
    often as takes a twentieth of the time, for a process that is killed. Every file is old or new, never half.

    Always: ``<name>_overlay.png`` and ``segments.csv``.
    panoptic: ``panoptic/<name>.png`` and ``panoptic.json`` in COCO's format.
    semantic: ``semantic/<name>.png``, 0 for void and n for the n-th category of ``semantic.json``.
    instance: ``instances.json``, COCO's list of results with run-length encoded masks.

    Args:
        folder: created if it does not exist.
        task: one of :data:`TASKS`.

    Raises:
        WriteError: the folder cannot be made or written.
    """

    def __init__(self, folder: Path, task: str) -> None:
        make_folder(folder)
        require_writable(folder)
        self.folder, self.task = folder, task
        self._held = _open_folder(folder)
        if self._held is not None:
            weakref.finalize(self, os.close, self._held)
        self._due = 0.0
        self._images: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []
        self._rows: list[dict[str, Any]] = []
        self._names: Counter[str] = Counter()
        self._vocabulary: Vocabulary | None = None

    def __enter__(self) -> PredictionWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.finish()
            return
        with suppress(InputError):  # the first error is the one to report
            self.finish()

    @property
    def count(self) -> int:
        """Number of images whose files are written."""
        return len(self._images)

    def add(self, image: Path, pixels: NDArray[np.uint8], named: PanopticResult, file: ImageFile | None = None) -> None:
        """Writes the files of one image.

        Args:
            image: path of the image, for its name.
            pixels: (H, W, 3).
            named: its map (H, W).
            file: id and file name of the image in json and csv, see :func:`opsnet.prediction.image_ids.image_files`;
                ``None``: the number of images so far, and the name of ``image``.

        Raises:
            WriteError: the disk is full or cannot be written, or the folder was removed.
        """
        self._require_folder()
        named, name = for_task(named, self.task), self._name_of(image)
        file = file or ImageFile(len(self._images), image.name)
        file = ImageFile(file.id, printable(file.file_name))
        self._vocabulary = named.vocabulary
        with atomic_path(self.folder / f"{name}_overlay.png") as path:
            named.plot(pixels).save(path, compress_level=1)  # a fifth larger, in a quarter of the time
        annotations = getattr(self, f"_add_{self.task}")(file.id, name, named)
        self._require_folder()  # it may have been removed, and made again by this image's files
        height, width = pixels.shape[:2]
        self._images.append(image_record(file, height, width))  # only now that its files are complete
        self._rows += [row_of(file.file_name, s, named.vocabulary) for s in named.segments]
        self._annotations += annotations
        if time.monotonic() >= self._due:
            self.finish()

    def _require_folder(self) -> None:
        """Checks that the folder is the one that the earlier images are in.

        Raises:
            WriteError: it was removed.
        """
        same = False
        with suppress(OSError):
            found = self.folder.stat()
            same = self._held is None or os.path.samestat(os.fstat(self._held), found)
        if not same:
            raise WriteError(
                f"folder {self.folder} (output) was removed while {len(self._images)} images were written to it: give "
                "another and start again"
            )

    def _name_of(self, image: Path) -> str:
        """The image's file name without its suffix, or with it if another image has the same name.

        Names that are too long, or that UTF-8 cannot encode, are changed.
        """
        stem, name = (shortened(printable(text)) for text in (image.stem, image.name))
        self._names[stem] += 1
        if self._names[stem] == 1:
            return stem
        self._names[name] += 1
        same = self._names[name]
        return name if same == 1 else f"{name}_{same}"

    def _add_panoptic(self, number: ImageId, name: str, named: PanopticResult) -> list[dict[str, Any]]:
        segments = [panoptic_segment(s, named.vocabulary) for s in named.segments]
        record = write_annotation(self.folder / "panoptic", number, f"{name}.png", named.ids.cpu().numpy(), segments)
        return [{**record, **dropped_masks(named)}]

    def _add_semantic(self, number: ImageId, name: str, named: PanopticResult) -> list[dict[str, Any]]:
        from PIL import Image

        values = torch.tensor([0, *(s.label + 1 for s in named.segments)])
        kind = np.uint8 if len(named.vocabulary) < 256 else np.uint16
        with atomic_path(self.folder / "semantic" / f"{name}.png") as path:
            Image.fromarray(values[named.ids.cpu()].numpy().astype(kind)).save(path)
        return [{"image_id": number, "file_name": f"{name}.png"}]

    def _add_instance(self, number: ImageId, name: str, named: PanopticResult) -> list[dict[str, Any]]:
        return coco_instances(named, number)

    def finish(self) -> None:
        """Writes the json and csv files for the images so far.

        Raises:
            WriteError: the disk is full or cannot be written, and the files are as they were; or the folder was
                removed.
        """
        if self._vocabulary is None:
            return
        self._require_folder()
        start = time.monotonic()
        self._write_json(self._vocabulary.categories())
        text = io.StringIO()
        table = csv.DictWriter(text, columns_of(self._rows), lineterminator="\n")
        table.writeheader()
        table.writerows(_written(row) for row in self._rows)
        write_text(self.folder / "segments.csv", text.getvalue())
        now = time.monotonic()
        self._due = now + PACE * (now - start)

    def _write_json(self, categories: list[dict[str, Any]]) -> None:
        if self.task == "instance":
            write_json(self.folder / "instances.json", self._annotations)
            return
        if self.task == "panoptic":
            path = self.folder / "panoptic.json"
            write_json(path, content(path, self._images, self._annotations, categories))
            return
        semantic = {"images": self._images, "annotations": self._annotations, "categories": categories}
        write_json(self.folder / "semantic.json", semantic)


def _open_folder(folder: Path) -> int | None:
    """A descriptor of a folder, whose number no new folder gets while it is open; ``None`` on Windows."""
    with suppress(OSError):
        return os.open(folder, os.O_RDONLY)
    return None


def _written(row: dict[str, Any]) -> dict[str, Any]:
    """A row of segments.csv."""
    rounded = {key: f"{row[key]:.4f}" for key in ("score", "predicted_iou")}
    return {key: safe_cell(value) for key, value in {**row, **rounded}.items()}


def save_results(results: Iterable[PanopticResult], folder: str | Path) -> Path:
    """Writes the results of several images, which may be an iterator, into one folder, as ``opsnet-predict`` does.

    Args:
        results: results of one task, with their images.
        folder: created if it does not exist; files of earlier results are replaced.

    Returns:
        The folder.

    Raises:
        InputError: a result has no image, the tasks differ, or the folder is a file or cannot be written.
    """
    path, remaining = arguments.folder("folder", folder), iter(results)
    first = next(remaining, None)
    if first is None:
        return path
    with PredictionWriter(path, first.task) as writer:
        for result in itertools.chain([first], remaining):
            if result.task != writer.task:
                raise InputError(f"the results are of tasks {writer.task} and {result.task}: use a folder per task")
            writer.add(Path(result.file_name), result.pixels(), result)
    return path


def save_result(result: PanopticResult, folder: str | Path, pixels: NDArray[np.uint8]) -> Path:
    """Writes the result of one image; see :meth:`PanopticResult.save`."""
    path = arguments.folder("folder", folder)
    others = _images_in(path) - {result.file_name, safe_cell(result.file_name)}
    if others:
        raise InputError(
            f"folder {path} holds the result of {min(others)}, whose json would be replaced: give another folder, or "
            "write all with opsnet.save_results(results, folder)"
        )
    with PredictionWriter(path, result.task) as writer:
        writer.add(Path(result.file_name), pixels, result)
    return path


def _images_in(folder: Path) -> set[str]:
    """The file names of the images whose results a folder holds; those without a segment are not in the table."""
    names: set[str] = set()
    with suppress(OSError, ValueError, KeyError, csv.Error), (folder / "segments.csv").open(encoding="utf-8") as file:
        names |= {row["file"] for row in csv.DictReader(file)}
    for task in TASKS:
        with suppress(OSError, ValueError, KeyError, TypeError):  # no file, or none of ours
            data = json.loads((folder / f"{task}.json").read_text(encoding="utf-8"))
            names |= {str(image["file_name"]) for image in data["images"]}
    return names
