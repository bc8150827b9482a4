"""Writes the files of one image: its overlay and the PNG of its task, and what the tables say of it."""

from __future__ import annotations

import os
import weakref
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from opsnet.data.coco_panoptic_writing import image_record, write_annotation
from opsnet.data.panoptic_records import ImageFile
from opsnet.prediction.carriers import PanopticResult
from opsnet.prediction.formats import coco_instances, dropped_masks, panoptic_segment, row_of
from opsnet.prediction.task_maps import for_task
from opsnet.utils.files import WriteError, atomic_path, make_folder, printable, require_writable, shortened


@dataclass(frozen=True)
class WrittenImage:
    """What the tables say of an image whose files are complete; values that json can hold.

    Attributes:
        name: the beginning of its files' names.
        image: its entry in ``images``.
        annotations: its entries in ``annotations``, or its instances.
        rows: its rows of segments.csv.
        warnings: texts, see :mod:`opsnet.prediction.cautions`.
        masks: number of given masks that were "named", or why they were not.
    """

    name: str
    image: dict[str, Any]
    annotations: list[dict[str, Any]]
    rows: list[dict[str, Any]]
    warnings: list[str] = field(default_factory=list)
    masks: dict[str, int] = field(default_factory=dict)


class OutputNames:
    """Chooses the names of output files: an image's without its suffix, or with it if an earlier image has the same.

    Names that are too long, or that UTF-8 cannot encode, are changed.
    """

    def __init__(self) -> None:
        self._used: Counter[str] = Counter()

    def next(self, image: Path) -> str:
        """The name of the next image."""
        stem, name = (shortened(printable(text)) for text in (image.stem, image.name))
        self._used[stem] += 1
        if self._used[stem] == 1:
            return stem
        self._used[name] += 1
        same = self._used[name]
        return name if same == 1 else f"{name}_{same}"

    @classmethod
    def of(cls, images: Iterable[Path]) -> list[str]:
        """The names of all images, in their order."""
        names = cls()
        return [names.next(image) for image in images]


class ImageWriter:
    """Writes the files of images into a folder; threads may share one.

    Args:
        folder: created if it does not exist.
        task: one of :data:`opsnet.prediction.task_maps.TASKS`.

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

    def write(self, name: str, pixels: NDArray[np.uint8], named: PanopticResult, file: ImageFile) -> WrittenImage:
        """Writes the files of one image.

        Args:
            name: the beginning of the files' names, which no other image has.
            pixels: (H, W, 3).
            named: its map (H, W).
            file: its id and file name in json and csv.

        Raises:
            WriteError: the disk is full or cannot be written, or the folder was removed.
        """
        self.require_folder()
        named, file = for_task(named, self.task), ImageFile(file.id, printable(file.file_name))
        with atomic_path(self.folder / f"{name}_overlay.png") as path:
            named.plot(pixels).save(path, compress_level=1)  # a fifth larger, in a quarter of the time
        annotations = self._annotations(name, named, file)
        self.require_folder()  # it may have been removed, and made again by this image's files
        masks = Counter(mask.reason for mask in named.dropped)
        masks["named"] = sum(len(s.source_ids) for s in named.segments)
        return WrittenImage(
            name,
            image_record(file, *pixels.shape[:2]),
            annotations,
            [row_of(file.file_name, s, named.vocabulary) for s in named.segments],
            list(dict.fromkeys(map(str, named.warnings))),
            dict(masks),
        )

    def has_files(self, written: WrittenImage) -> bool:
        """Whether the files of an image that was written earlier are still there."""
        png = [] if self.task == "instance" else [self.folder / self.task / f"{written.name}.png"]
        return all(path.is_file() for path in (self.folder / f"{written.name}_overlay.png", *png))

    def require_folder(self) -> None:
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
                f"folder {self.folder} (output) was removed while images were written to it: give another and start "
                "again"
            )

    def _annotations(self, name: str, named: PanopticResult, file: ImageFile) -> list[dict[str, Any]]:
        """Writes the PNG of the task, and returns the image's entries in ``annotations``."""
        png = f"{name}.png"
        if self.task == "instance":
            return coco_instances(named, file.id)
        if self.task == "semantic":
            self._write_classes(png, named)
            return [{"image_id": file.id, "file_name": png}]
        segments = [panoptic_segment(s, named.vocabulary) for s in named.segments]
        record = write_annotation(self.folder / "panoptic", file.id, png, named.ids.cpu().numpy(), segments)
        return [{**record, **dropped_masks(named)}]

    def _write_classes(self, png: str, named: PanopticResult) -> None:
        from PIL import Image

        values = torch.tensor([0, *(s.label + 1 for s in named.segments)])
        kind = np.uint8 if len(named.vocabulary) < 256 else np.uint16
        with atomic_path(self.folder / "semantic" / png) as path:
            Image.fromarray(values[named.ids.cpu()].numpy().astype(kind)).save(path)


def _open_folder(folder: Path) -> int | None:
    """A descriptor of a folder, whose number no new folder gets while it is open; ``None`` on Windows."""
    with suppress(OSError):
        return os.open(folder, os.O_RDONLY)
    return None
