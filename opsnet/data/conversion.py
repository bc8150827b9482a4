"""Other formats -> COCO's panoptic format on disk (see :mod:`opsnet.data.panoptic_dataset`).

A data set's script says which pictures there are and how one is read; writing, progress, worker processes and going on
after a stop are the same for all.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from opsnet.data.panoptic_json import MAX_ID
from opsnet.errors import DatasetError, InputError
from opsnet.files import atomic_path, write_json, write_text


@dataclass(frozen=True)
class Source:
    """One picture to convert.

    Attributes:
        image_id: for the json, unique in a set.
        picture: the file as distributed.
        file_name: what the json calls it; it is linked under this name.
        png: name of the PNG to write.
        labels: files of the annotation as distributed, in the order that the script's reader wants.
    """

    image_id: int | str
    picture: Path
    file_name: str
    png: str
    labels: tuple[Path, ...]


@dataclass(frozen=True)
class SegmentLabel:
    """What one segment id of an image means.

    Attributes:
        id: in the map.
        category_id: of the vocabulary.
        is_crowd: several objects.
        mask: (H, W) bool, the segment before others were painted over it; ``None``: what the map shows.
    """

    id: int
    category_id: int
    is_crowd: bool = False
    mask: NDArray[np.bool_] | None = None


Reader = Callable[[Source], tuple[NDArray[np.int64], list[SegmentLabel]]]
"""A picture's segment ids (H, W), 0 = void, and what each means."""


def convert(
    sources: Sequence[Source], read: Reader, *, annotations: Path, pictures: Path, categories: list[dict[str, Any]],
    workers: int | None = None, recipe: str = "",
) -> None:  # fmt: skip
    """Writes a set: ``annotations``, PNGs in the folder of its name without ``.json``, links to the pictures.

    A set whose json is there is left alone; of one that was stopped, pictures that were finished are not read again
    unless their files or the recipe changed.

    Args:
        sources: the pictures, in the order of the json.
        read: of a module's top level, because worker processes call it.
        annotations: the json to write.
        pictures: folder for the links.
        categories: of the json.
        workers: processes; by default one a core.
        recipe: what ``read`` does besides reading the files, such as its options.

    Raises:
        DatasetError: a file is missing or not what it should be; it is named.
        InputError: of ``read``.
    """
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    if annotations.is_file():
        console.print(f"{annotations} is there already: remove it to convert the set again", soft_wrap=True)
        return
    missing = [p for s in sources for p in (s.picture, *s.labels) if not p.is_file()]
    if missing:
        raise DatasetError(f"{missing[0]} does not exist ({len(missing)} files are missing): complete the data set")
    parts = annotations.with_name(f".{annotations.stem}.parts")
    _keep_parts_of(recipe, parts)
    one = partial(_convert_one, read=read, pngs=annotations.with_suffix(""), parts=parts, pictures=pictures)
    workers, shown = workers or os.cpu_count() or 1, (annotations.stem, len(sources))
    if workers > 1:
        with ProcessPoolExecutor(workers) as pool:
            records = list(track(pool.map(one, sources, chunksize=8), *shown, console=console))
    else:
        records = list(track(map(one, sources), *shown, console=console))  # an error ends the bar before it is printed
    content = {
        "images": [record["image"] for record in records],
        "annotations": [record["annotation"] for record in records],
        "categories": categories,
    }
    write_json(annotations, content)
    shutil.rmtree(parts, ignore_errors=True)


def _keep_parts_of(recipe: str, parts: Path) -> None:
    """Removes what a run with another recipe finished."""
    note = parts / "recipe.txt"
    if not note.is_file() or note.read_text(encoding="utf-8") != recipe:
        shutil.rmtree(parts, ignore_errors=True)
        write_text(note, recipe)


def _convert_one(source: Source, *, read: Reader, pngs: Path, parts: Path, pictures: Path) -> dict[str, Any]:
    """The picture's entries for the json; its PNG and its link are on disk."""
    part, png = parts / f"{source.png}.json", pngs / source.png
    link(source.picture, pictures / source.file_name)
    if part.is_file() and png.is_file() and not _is_older(part, (source.picture, *source.labels)):
        record: dict[str, Any] = json.loads(part.read_text(encoding="utf-8"))
        return record
    try:
        ids, labels = read(source)
    except InputError:
        raise
    except (OSError, ValueError, IndexError, KeyError) as error:
        raise DatasetError(f"annotation {source.labels[0]} cannot be read ({error}): replace the file") from error
    with atomic_path(png) as path:
        Image.fromarray(ids_to_rgb(ids)).save(path)
    height, width = ids.shape
    record = {
        "image": {"id": source.image_id, "width": width, "height": height, "file_name": source.file_name},
        "annotation": {
            "image_id": source.image_id, "file_name": source.png, "segments_info": describe(ids, labels),
        },
    }  # fmt: skip
    write_json(part, record)  # last: it says that the PNG is whole
    return record


def _is_older(file: Path, than: Iterable[Path]) -> bool:
    return file.stat().st_mtime < max(path.stat().st_mtime for path in than)


def one_segment_a_class(
    classes: NDArray[np.int64], category_ids: Iterable[int]
) -> tuple[NDArray[np.int64], list[SegmentLabel]]:
    """A class map (H, W) as ids and labels: what a semantic set is in the panoptic format.

    Args:
        classes: category ids; those that are not among ``category_ids`` become void.
        category_ids: of the vocabulary, 1 or more.
    """
    found = sorted(set(category_ids) & set(np.unique(classes).tolist()))
    ids: NDArray[np.int64] = np.where(np.isin(classes, found), classes, 0)
    return ids, [SegmentLabel(category, category) for category in found]


def describe(ids: NDArray[np.int64], labels: Iterable[SegmentLabel]) -> list[dict[str, Any]]:
    """COCO's ``segments_info``: area in pixels and box [left, top, width, height] of each segment that has a pixel.

    Of a label with a mask both are the mask's, even where none of it is left in the map, and ``covered`` is added: the
    pixels that are not.
    """
    values, rows = np.unique(ids, return_inverse=True)
    rows = rows.reshape(ids.shape) + 1
    areas, boxes = np.bincount(rows.ravel()), ndimage.find_objects(rows)
    row_of = {int(value): row for row, value in enumerate(values, start=1)}
    segments = []
    for label in labels:
        row = row_of.get(label.id)
        area, box = (int(areas[row]), boxes[row - 1]) if row else (0, None)
        hidden: dict[str, int] = {}
        if label.mask is not None and (whole := int(label.mask.sum())) > area:
            area, hidden, (box,) = whole, {"covered": whole - area}, ndimage.find_objects(label.mask.astype(np.uint8))
        if box is None:
            continue
        down, across = box
        corner = [across.start, down.start, across.stop - across.start, down.stop - down.start]
        segments.append(
            {
                "id": label.id,
                "category_id": label.category_id,
                "iscrowd": int(label.is_crowd),
                "area": area,
                "bbox": [int(v) for v in corner],
                **hidden,
            }
        )
    return segments


def ids_to_rgb(ids: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Segment ids (H, W) -> (H, W, 3), ``id = R + 256 G + 65536 B``.

    Raises:
        ValueError: an id that three bytes cannot hold.
    """
    if ids.size and not 0 <= ids.min() <= ids.max() < MAX_ID:
        raise ValueError(f"segment ids must lie in 0..{MAX_ID - 1}, got {ids.min()} to {ids.max()}")
    return np.stack([ids % 256, ids // 256 % 256, ids // 65536], axis=-1).astype(np.uint8)


def rgb_to_ids(rgb: NDArray[np.uint8]) -> NDArray[np.int32]:
    """The reverse of :func:`ids_to_rgb`."""
    red, green, blue = np.moveaxis(rgb.astype(np.int32), -1, 0)
    ids: NDArray[np.int32] = red + (green << 8) + (blue << 16)
    return ids


def link(target: Path, name: Path) -> None:
    """Puts ``target`` under another name: a symbolic link or, where the disk has none, a copy."""
    if name.exists() and (name.samefile(target) or not name.is_symlink()):
        return
    name.parent.mkdir(parents=True, exist_ok=True)
    name.unlink(missing_ok=True)  # a link whose target has moved, or to another picture
    try:
        name.symlink_to(target.resolve())
    except OSError:
        with atomic_path(name) as path:
            shutil.copyfile(target, path)
