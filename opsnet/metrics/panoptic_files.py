"""Reading of COCO's panoptic format: a json that lists the segments of each image, and a PNG of segment ids an image.

The json holds ``categories`` (id, name, isthing) and ``annotations`` (image_id, file_name, segments_info with id,
category_id, iscrowd and area); a pixel of the PNG is R + 256 G + 65536 B, and 0 is void. Whatever is wrong with a file
raises ``ScoreError`` with one sentence for the user.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image

from opsnet.metrics.panoptic_arithmetic import SegmentError, SegmentTable, Side

T = TypeVar("T")


class ScoreError(ValueError):
    """Files that cannot be scored; the message names the file and the fix."""


@dataclass(frozen=True)
class Category:
    """One entry of the ground truth's ``categories``."""

    id: int
    name: str
    is_thing: bool


@dataclass(frozen=True)
class Annotation:
    """One image's entry: the json it stands in, its PNG, and its segments with labels that index the categories."""

    image_id: int | str
    listing: Path
    png: Path
    segments: SegmentTable


def load_json(path: Path) -> dict[str, Any]:
    """The json object in a file.

    Raises:
        ScoreError: it is missing, unreadable, malformed, or no object.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ScoreError(f"{path} does not exist: check the path") from error
    except OSError as error:
        raise ScoreError(f"{path} cannot be read ({error.strerror}): name a json file") from error
    except (ValueError, RecursionError) as error:  # malformed json, or text that is not UTF-8
        raise ScoreError(f"{path} is not valid json ({error}): write it anew") from error
    if not isinstance(data, dict):
        raise ScoreError(f"{path} holds a {type(data).__name__}, not COCO's panoptic format: convert it to an object")
    return data


def read_categories(data: dict[str, Any], path: Path) -> tuple[Category, ...]:
    """The categories of a ground truth, in the order of the json.

    Raises:
        ScoreError: a field is missing or wrong, or an id appears twice.
    """
    categories: dict[int, Category] = {}
    for i, record in enumerate(_get(data, "categories", _list, str(path))):
        where = f"{path}: categories[{i}]"
        category_id = _get(record, "id", _whole, where)
        if category_id in categories:
            raise ScoreError(f"{path} has two categories with id {category_id}: give each its own")
        is_thing = _get(record, "isthing", _whole, where) == 1
        categories[category_id] = Category(category_id, _get(record, "name", _text, where), is_thing)
    return tuple(categories.values())


def read_annotations(
    data: dict[str, Any], path: Path, folder: str | Path | None, side: Side, categories: Sequence[Category]
) -> dict[int | str, Annotation]:
    """The annotations of a json by image id, in its order; PNGs are not opened yet.

    Args:
        data: what ``load_json`` answered for ``path``.
        path: the json.
        folder: where its PNGs are; ``None`` is the json's path without ``.json``.
        side: whose annotations they are.
        categories: the ground truth's.

    Raises:
        ScoreError: the folder or a field is missing, a field is wrong, an image or segment appears twice, or a
            category is unknown.
    """
    folder = path.with_suffix("") if folder is None else Path(folder)
    if not folder.is_dir():
        option = "--gt-dir" if side == "truth" else "--pred-dir"
        raise ScoreError(f"the folder {folder} with the PNGs of {path} does not exist: name it with {option}")
    label_of = {category.id: label for label, category in enumerate(categories)}
    annotations: dict[int | str, Annotation] = {}
    for i, record in enumerate(_get(data, "annotations", _list, str(path))):
        image_id = _get(record, "image_id", _number_or_text, f"{path}: annotations[{i}]")
        where = f"{path}: image {image_id}"
        if image_id in annotations:
            raise ScoreError(f"{where} is annotated twice: keep one entry")
        png = folder / _get(record, "file_name", _text, where)
        segments = _segments(_get(record, "segments_info", _list, where), side, label_of, where)
        annotations[image_id] = Annotation(image_id, path, png, segments)
    return annotations


def _segments(records: list[Any], side: Side, label_of: dict[int, int], where: str) -> SegmentTable:
    rows = []
    for i, record in enumerate(records):
        segment_id = _get(record, "id", _whole, f"{where}, segments_info[{i}]")
        place = f"{where}, segment {segment_id}"
        category = _get(record, "category_id", _whole, place)
        if category not in label_of:
            raise ScoreError(f"{place} has unknown category_id {category}: use an id of the ground truth's categories")
        is_crowd, area, covered = False, _NO_AREA, 0
        if side == "truth":  # panopticapi reads neither of a prediction
            is_crowd = _get(record, "iscrowd", _whole, place, default=0) == 1
            area = _get(record, "area", _area, place, default=_NO_AREA)
            covered = _get(record, "covered", _whole, place, default=0)
        rows.append((segment_id, label_of[category], is_crowd, area, covered))
    ids, labels, crowd, areas, covered = np.array(rows, dtype=np.int64).reshape(-1, 5).T
    try:
        return SegmentTable(side, ids, labels, crowd == 1, None if (areas == _NO_AREA).any() else areas, covered)
    except SegmentError as error:
        raise ScoreError(f"{where}: {error}") from error


def read_ids(annotation: Annotation) -> npt.NDArray[np.uint32]:
    """Segment ids (H, W) of an annotation's PNG.

    Raises:
        ScoreError: the PNG is missing, broken, or not RGB.
    """
    where = f"{annotation.png} (image {annotation.image_id} of {annotation.listing})"
    try:
        with Image.open(annotation.png) as image:
            mode = image.mode
            pixels = np.asarray(image.convert("RGBA") if mode == "RGB" else image)
    except FileNotFoundError as error:
        raise ScoreError(f"{where} does not exist: check file_name and the folder of the PNGs") from error
    # All of these are Pillow's answers to a broken file.
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ScoreError(f"{where} cannot be read as a picture: write the PNG anew") from error
    if mode not in ("RGB", "RGBA"):
        raise ScoreError(f"{where} has mode {mode}: save segment ids as an RGB PNG, id = R + 256 G + 65536 B")
    # Four bytes are one little-endian number with alpha on top: one view instead of three multiplications.
    ids: npt.NDArray[np.uint32] = pixels.view("<u4")[..., 0] & np.uint32(0xFFFFFF)
    return ids


_NO_AREA = 0
"""Stands for an area that the json leaves out; none that it gives is 0."""


def _get(record: Any, key: str, kind: Callable[[Any], T], where: str, default: T | None = None) -> T:
    """``record[key]`` as ``kind``, or a ``ScoreError`` that says where it is missing or wrong."""
    if not isinstance(record, dict) or (key not in record and default is None):
        raise ScoreError(f"{where} has no '{key}', which COCO's panoptic format asks for: add it")
    if key not in record and default is not None:
        return default
    try:
        return kind(record[key])
    except TypeError as error:
        raise ScoreError(f"{where}: '{key}' is not {error}: correct it") from error


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError("a list")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("a text")
    return value


def _whole(value: Any) -> int:
    # The bound keeps it inside int64; ids of a PNG are far below.
    if not isinstance(value, (int, float)) or not abs(value) < 2**53 or value != int(value):
        raise TypeError("a whole number")
    return int(value)


def _area(value: Any) -> int:
    if _whole(value) <= 0:
        raise TypeError("a positive number of pixels")
    return int(value)


def _number_or_text(value: Any) -> int | str:
    return value if isinstance(value, str) else _whole(value)
