"""Converts other formats to COCO's panoptic format on disk (see :mod:`opsnet.data.coco_panoptic`).

Each dataset's script lists the images and reads one of them; writing, progress bars, worker processes and resuming
after an interruption are shared.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opsnet.data.coco_panoptic_writing import SegmentLabel, content, describe, image_record, write_annotation
from opsnet.data.panoptic_records import ImageFile
from opsnet.utils.errors import DatasetError, InputError
from opsnet.utils.files import WriteError, atomic_path, make_folder, shortened, write_json, write_text
from opsnet.utils.processes import map_in_processes


@dataclass(frozen=True)
class Source:
    """One image to convert.

    Attributes:
        image_id: its id in the json, unique within a set.
        image: the image file as distributed.
        file_name: its name in the json; the file is linked under this name.
        png: name of the PNG to write.
        labels: the annotation files as distributed, in the order that the script's reader expects.
        entry: the image's name or number in an annotation file of several images, if that is not its id.
    """

    image_id: int | str
    image: Path
    file_name: str
    png: str
    labels: tuple[Path, ...]
    entry: str = ""


SHOWN = 20
"""Damaged images that are reported one by one."""
Outcome = dict[str, Any] | str
"""An image's entries for the json, or the message that says why it cannot be converted."""
Reader = Callable[[Source], tuple[NDArray[np.int64], list[SegmentLabel]]]
"""Reads an image's segment ids (H, W), 0 = void, and the label of each id."""


def convert(
    sources: Sequence[Source], read: Reader, *, annotations: Path, images: Path, categories: list[dict[str, Any]],
    workers: int | None = None, recipe: str = "", skip_damaged: bool | None = None,
) -> int:  # fmt: skip
    """Writes a panoptic set: the json ``annotations``, the PNGs in a folder of the same name, and links to the images.

    If the json already exists, nothing is done. It is written last, so a set that has one is complete. After an
    interruption, finished images are not read again unless their files or the recipe changed. A damaged image or label
    does not keep the others from being converted.

    Args:
        sources: the images, in the order of the json.
        read: reads one source; must be a module-level function because worker processes call it.
        annotations: the json to write.
        images: folder for the links to the images.
        categories: the json's categories.
        workers: number of worker processes; default: one per core.
        recipe: the options of ``read``; a different recipe invalidates images that an interrupted run finished.
        skip_damaged: leave damaged images out of the set; ``None``: the command has no such option to advise.

    Returns:
        The number of images in the set.

    Raises:
        DatasetError: there are no sources, a file is missing or invalid, or ``read`` returned something that a panoptic
            set cannot store; the message names the file.
        WriteError: the disk is full or cannot be written.
    """
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    if annotations.is_file():
        console.print(f"{annotations} exists already: remove it to convert the set again", soft_wrap=True)
        return len(sources)
    if not sources:
        raise DatasetError(f"there is no image for {annotations}: check the folders against the layout in --help")
    _check_names(sources, annotations, categories)
    missing = [p for s in sources for p in (s.image, *s.labels) if not p.is_file()]
    if missing:
        raise DatasetError(f"{missing[0]} does not exist ({len(missing)} files are missing): complete the data set")
    parts = annotations.with_name(f".{annotations.stem}.parts")
    skip_hint = "" if skip_damaged is None else "; --skip-damaged leaves them out"
    _keep_parts_of(recipe, parts)
    one = partial(_convert_one, read=read, pngs=annotations.with_suffix(""), parts=parts, images_folder=images)
    workers, shown = workers or os.cpu_count() or 1, (annotations.stem, len(sources))
    records: list[Outcome] = []
    failed: list[str] = []
    fix = "run the same command again to continue, with fewer --workers"
    # Without a name of its own, so that leaving the loop ends the processes; an error ends the bar first.
    for record in track(map_in_processes(one, sources, workers, fix=fix, chunk=8), *shown, console=console):
        records.append(record)
        failed += [record] if isinstance(record, str) else []
        if len(failed) > SHOWN and not skip_damaged:  # the options are wrong rather than the files
            break
    for message in failed[:SHOWN] if skip_damaged else failed[1:SHOWN]:
        console.print(f"damaged: {message}", soft_wrap=True, markup=False, highlight=False)
    whole = [(source, record) for source, record in zip(sources, records) if not isinstance(record, str)]
    if failed and not (skip_damaged and whole):
        raise DatasetError(
            f"{failed[0]} ({len(failed)} of {len(records)} images cannot be converted; the others are, and the same "
            f"command continues from there{skip_hint})"
        )
    _require_pngs(annotations.with_suffix(""), [source.png for source, _ in whole])
    image_records, annotation_records = ([record[key] for _, record in whole] for key in ("image", "annotation"))
    write_json(annotations, content(annotations, image_records, annotation_records, categories))
    if failed:
        console.print(f"{len(failed)} of {len(sources)} images were left out, because they are damaged", soft_wrap=True)
    shutil.rmtree(parts, ignore_errors=True)
    return len(whole)


def _require_pngs(folder: Path, names: Sequence[str]) -> None:
    """Checks before the json is written that nobody has removed what it lists.

    Raises:
        DatasetError: a PNG is missing.
    """
    parents = {os.path.dirname(name) for name in names}
    listed = {p: set(os.listdir(folder / p)) if (folder / p).is_dir() else set() for p in parents}
    gone = [name for name in names if os.path.basename(name) not in listed[os.path.dirname(name)]]
    if gone:
        raise DatasetError(
            f"{folder / gone[0]} was removed while the set was written ({len(gone)} of {len(names)} files are gone): "
            "run the same command again"
        )


def _check_names(sources: Iterable[Source], annotations: Path, categories: list[dict[str, Any]]) -> None:
    """Checks ids, file names and categories before any file is written under these names."""
    images = [{"id": source.image_id, "file_name": source.file_name} for source in sources]
    pngs: list[dict[str, Any]] = [
        {"image_id": source.image_id, "file_name": source.png, "segments_info": []} for source in sources
    ]
    content(annotations, images, pngs, categories)


def _keep_parts_of(recipe: str, parts: Path) -> None:
    """Removes the parts that a run with a different recipe finished."""
    note = parts / "recipe.txt"
    if not note.is_file() or note.read_text(encoding="utf-8") != recipe:
        shutil.rmtree(parts, ignore_errors=True)
        write_text(note, recipe)


def _convert_one(source: Source, *, read: Reader, pngs: Path, parts: Path, images_folder: Path) -> Outcome:
    """Converts one image and returns its entries for the json, once its PNG and its link are on disk.

    If the image or its label is damaged, the message that says so is returned.
    """
    part, png = parts / f"{shortened(source.png)}.json", pngs / source.png
    link(source.image, images_folder / source.file_name)
    files = _state((source.image, *source.labels))
    if part.is_file() and png.is_file():
        known: dict[str, Any] = json.loads(part.read_text(encoding="utf-8"))
        if known.get("files") == files:
            return known
    try:
        record = _record(source, read, pngs)
    except WriteError:
        raise
    except InputError as error:
        return str(error)
    write_json(part, {**record, "files": files})  # last: it marks the PNG as complete
    return record


def _record(source: Source, read: Reader, pngs: Path) -> dict[str, Any]:
    try:
        ids, labels = read(source)
        segments = describe(ids, labels)
    except InputError:
        raise
    except (OSError, ValueError, IndexError, KeyError, MemoryError) as error:
        reason = str(error) or type(error).__name__
        raise DatasetError(f"annotation {source.labels[0]} cannot be read ({reason}): replace the file") from error
    return {
        "image": image_record(ImageFile(source.image_id, source.file_name), *ids.shape),
        "annotation": write_annotation(pngs, source.image_id, source.png, ids, segments),
    }


def _state(files: Iterable[Path]) -> list[list[int]]:
    """Time of change in nanoseconds and size of each file: equal only if it is the same, whatever the clock did."""
    return [[status.st_mtime_ns, status.st_size] for status in (path.stat() for path in files)]


def one_segment_per_class(
    classes: NDArray[np.int64], category_ids: Iterable[int]
) -> tuple[NDArray[np.int64], list[SegmentLabel]]:
    """Turns a class map (H, W) into ids and labels: how a semantic set is represented in the panoptic format.

    Args:
        classes: category ids; ids not in ``category_ids`` become void.
        category_ids: the vocabulary's category ids, all >= 1.
    """
    found = sorted(set(category_ids) & set(np.unique(classes).tolist()))
    ids: NDArray[np.int64] = np.where(np.isin(classes, found), classes, 0)
    return ids, [SegmentLabel(category, category) for category in found]


def link(target: Path, name: Path) -> None:
    """Makes ``target`` available as ``name``: a symbolic link or, on file systems without links, a copy."""
    if name.exists() and (name.samefile(target) or not name.is_symlink()):
        return
    make_folder(name.parent)
    try:
        name.unlink(missing_ok=True)  # a stale link, or one to another image
        name.symlink_to(target.resolve())
    except OSError:
        with atomic_path(name) as path:
            shutil.copyfile(target, path)
