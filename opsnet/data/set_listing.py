"""Inspection of a panoptic json as a whole and of its folders; no image is opened here."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from opsnet.data import findings as kinds
from opsnet.data.coco_panoptic import load_json
from opsnet.data.findings import Finding, Kind
from opsnet.data.inspection import AnnotatedImage
from opsnet.data.panoptic_entries import kind_conflict
from opsnet.data.panoptic_records import Category, ImageId, parse_category, parse_image, parse_png
from opsnet.utils.json_fields import FieldError, field, items
from opsnet.vocabulary import Vocabulary

FindingSink = Callable[[Finding], None]
"""Receives findings one at a time, in the order of the json: a set may have more of them than fit into memory."""


@dataclass(frozen=True)
class PanopticSource:
    """The location of a panoptic set; equal sources are the same set. ``limit``: use only the first annotations."""

    images: Path
    annotations: Path
    segments: Path
    vocabulary: Vocabulary
    limit: int | None = None


def list_images(source: PanopticSource, sink: FindingSink) -> tuple[int, list[AnnotatedImage]]:
    """The number of entries in ``images``, and the images to inspect; no images if the json cannot be used at all.

    Args:
        source: the set.
        sink: receives the findings.
    """
    try:
        data = load_json(source.annotations)
        records, images = field(data, "annotations", items), field(data, "images", items)
        categories: list[Any] = field(data, "categories", items, [])
    except FieldError as error:
        sink(Finding(kinds.UNREADABLE_JSON, str(source.annotations), str(error)))
        return 0, []
    if not records:
        sink(Finding(kinds.UNREADABLE_JSON, str(source.annotations), "has no annotations"))
        return len(images), []
    _check_categories(categories, source.vocabulary, sink)
    return len(images), _annotated(source, _by_id(images, sink), records, sink)


class _Folder:
    """A folder's files, with one listing per subfolder: one stat per file takes minutes on network disks."""

    def __init__(self, path: Path, sink: FindingSink) -> None:
        self.path = path
        self.exists = path.is_dir()
        self._listed: dict[str, set[str]] = {}
        if not self.exists:
            sink(Finding(kinds.MISSING_FOLDER, str(path), "does not exist"))

    def find(self, name: str, missing: Kind, sink: FindingSink) -> Path | None:
        """The file's path, or ``None`` with a finding; a missing folder has been reported already."""
        if not self.exists:
            return None
        parent, base = os.path.split(os.path.normpath(name))
        if parent not in self._listed:
            self._listed[parent] = _files(self.path / parent)
        if base in self._listed[parent]:
            return self.path / name
        sink(Finding(missing, name, f"is not in {self.path}"))
        return None

    def report_orphans(self, names: Iterable[str], orphan: Kind, sink: FindingSink) -> None:
        """Reports files that are not among the names."""
        known = {os.path.normpath(name) for name in names}
        for parent, listed in self._listed.items():
            for name in sorted({os.path.join(parent, base) for base in listed} - known):
                sink(Finding(orphan, name, f"in {self.path} is not listed in the json"))


def _files(folder: Path) -> set[str]:
    """Names of the files in a folder, except hidden files and broken links."""
    if not folder.is_dir():
        return set()
    with os.scandir(folder) as entries:
        return {entry.name for entry in entries if entry.is_file() and not entry.name.startswith(".")}


def _annotated(
    source: PanopticSource, images: dict[ImageId, dict[str, Any]], records: list[Any], sink: FindingSink
) -> list[AnnotatedImage]:
    """The images to inspect; reports annotations without an image, missing files and orphans."""
    image_files, pngs = _Folder(source.images, sink), _Folder(source.segments, sink)
    chosen, seen = list[AnnotatedImage](), set[ImageId]()
    for number, record in enumerate(records):
        is_inspected = source.limit is None or number < source.limit
        try:
            image_id, png = parse_png(record)
        except FieldError as error:
            if is_inspected:
                sink(Finding(kinds.MALFORMED, f"annotations[{number}]", str(error)))
            continue
        if is_inspected:
            if image_id in seen:
                sink(Finding(kinds.ANNOTATED_TWICE, png, f"annotates image {image_id} again"))
            if image_id not in images:
                sink(Finding(kinds.UNKNOWN_IMAGE, png, f"annotates image {image_id}"))
            image = images.get(image_id, {})
            path = image_files.find(image["file_name"], kinds.MISSING_IMAGE, sink) if image else None
            chosen.append(AnnotatedImage(image, record, path, pngs.find(png, kinds.MISSING_PNG, sink)))
        seen.add(image_id)
    for image_id in (i for i in images if i not in seen):
        sink(Finding(kinds.NOT_ANNOTATED, images[image_id]["file_name"], f"image {image_id} has no annotation"))
    image_files.report_orphans((i["file_name"] for i in images.values()), kinds.ORPHAN_IMAGE, sink)
    pngs.report_orphans((str(r.get("file_name")) for r in records if isinstance(r, dict)), kinds.ORPHAN_PNG, sink)
    return chosen


def _by_id(records: list[Any], sink: FindingSink) -> dict[ImageId, dict[str, Any]]:
    """The valid entries of ``images``, by id."""
    images: dict[ImageId, dict[str, Any]] = {}
    for number, record in enumerate(records):
        try:
            image = parse_image(record)
        except FieldError as error:
            sink(Finding(kinds.MALFORMED, f"images[{number}]", str(error)))
            continue
        if image.id in images:
            sink(Finding(kinds.REPEATED_IMAGE, image.file_name, f"has id {image.id}, as an image before it"))
        images[image.id] = record
    return images


def _check_categories(records: list[Any], vocabulary: Vocabulary, sink: FindingSink) -> None:
    categories: dict[int, Category] = {}
    for number, record in enumerate(records):
        try:
            category = parse_category(record)
        except FieldError as error:
            sink(Finding(kinds.MALFORMED, f"categories[{number}]", str(error)))
            continue
        where = f"category {category.id} ('{category.name}')"
        if category.id in categories:
            sink(Finding(kinds.REPEATED_CATEGORY, where, f"has the id of '{categories[category.id].name}'"))
        if problem := kind_conflict(category, vocabulary):
            sink(Finding(kinds.OTHER_KIND, where, problem))
        categories[category.id] = category
