"""Parsing and validation of single records of COCO's panoptic json; :mod:`opsnet.data.coco_panoptic` reads whole files.

Every ``parse_*`` function raises ``FieldError`` for the first invalid field. From a prediction panopticapi reads only
ids and categories, so nothing else is checked here, and a prediction may list a segment with id 0, which panopticapi
scores like any other. In ground truth 0 is void.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple, TypeVar

from opsnet.data.panoptic_png import MAX_ID
from opsnet.utils.json_fields import FieldError, field, flag, items, nonblank, whole

T = TypeVar("T")
ImageId = int | str


class ImageFile(NamedTuple):
    """One entry of ``images``."""

    id: ImageId
    file_name: str


class Category(NamedTuple):
    """One entry of ``categories``."""

    id: int
    name: str
    is_thing: bool


class SegmentInfo(NamedTuple):
    """One entry of ``segments_info``.

    Attributes:
        id: its id in the PNG.
        category_id: id of one of the json's categories.
        is_crowd: whether it covers several objects; always false for a prediction.
        area: pixels as stated in the json, possibly fractional; ``None`` if not stated, and for a prediction.
        covered: pixels of the area that other segments hide in the PNG.
    """

    id: int
    category_id: int
    is_crowd: bool = False
    area: int | float | None = None
    covered: int = 0


class Annotation(NamedTuple):
    """One entry of ``annotations``; ``file_name`` is the PNG's."""

    image_id: ImageId
    file_name: str
    segments: tuple[SegmentInfo, ...]


def parse_image(record: Any) -> ImageFile:
    """Parses an entry of ``images``.

    Raises:
        FieldError: id or file_name is missing or invalid.
    """
    return ImageFile(field(record, "id", image_id), field(record, "file_name", file_name))


def parse_category(record: Any) -> Category:
    """Parses an entry of ``categories``.

    Raises:
        FieldError: one of its three fields is missing or invalid.
    """
    return Category(field(record, "id", whole), field(record, "name", nonblank), field(record, "isthing", flag))


def parse_annotation(record: Any, *, predicted: bool = False) -> Annotation:
    """Parses an entry of ``annotations`` and checks its segment ids.

    Args:
        record: the entry.
        predicted: whether it belongs to a prediction rather than to ground truth.

    Raises:
        FieldError: a field is missing or invalid, or a segment id is out of range or occurs twice.
    """
    png, segments = parse_png(record), parse_segments(record, predicted=predicted)
    ids = [segment.id for segment in segments]
    if wrong := out_of_range(ids, predicted=predicted):
        lowest = "0" if predicted else "1"
        raise FieldError(f"segment id {wrong[0]} is not in {lowest}..{MAX_ID - 1} (0 is void): renumber the segment")
    if twice := repeated(ids):
        raise FieldError(f"segment id {twice[0]} occurs twice: give each segment its own id")
    return Annotation(*png, segments)


def parse_png(record: Any) -> tuple[ImageId, str]:
    """Parses the image id and the PNG's file name of an entry of ``annotations``.

    Raises:
        FieldError: one of them is missing or invalid.
    """
    return field(record, "image_id", image_id), field(record, "file_name", file_name)


def parse_segments(record: Any, *, predicted: bool = False) -> tuple[SegmentInfo, ...]:
    """Parses the segments of an entry of ``annotations``, without checking ids for range and repetition.

    Raises:
        FieldError: a segment's field is missing or invalid.
    """
    parse = _predicted_segment if predicted else _true_segment
    segments = []
    for number, info in enumerate(field(record, "segments_info", items)):
        try:
            segments.append(parse(info))
        except FieldError as error:
            raise FieldError(f"segments_info[{number}]: {error}") from None
    return tuple(segments)


def _predicted_segment(info: Any) -> SegmentInfo:
    return SegmentInfo(field(info, "id", whole), field(info, "category_id", whole))


def _true_segment(info: Any) -> SegmentInfo:
    return SegmentInfo(
        field(info, "id", whole),
        field(info, "category_id", whole),
        field(info, "iscrowd", flag, False),
        field(info, "area", _area, None),
        field(info, "covered", _pixels, 0),
    )


def out_of_range(ids: Iterable[int], *, predicted: bool = False) -> list[int]:
    """Segment ids that a PNG cannot hold, or that are reserved for void."""
    lowest = 0 if predicted else 1
    return [i for i in ids if not lowest <= i < MAX_ID]


def repeated(values: Iterable[T]) -> list[T]:
    """Values that have occurred before, in order."""
    seen: set[T] = set()
    return [v for v in values if v in seen or seen.add(v)]  # type: ignore[func-returns-value]


def image_id(value: Any) -> ImageId:
    """Parses an image id: COCO's are numbers, possibly stored as text; Cityscapes' are names."""
    if isinstance(value, str) and value:
        return int(value) if value.isascii() and value.isdigit() and len(value) < 16 else value
    try:
        return whole(value)
    except TypeError:
        raise TypeError("a whole number or text") from None


_LONGEST_NAME = 255  # bytes
_LEAVES_ITS_FOLDER = re.compile(r"[/\\]|[A-Za-z]:[/\\]|(.*[/\\])?\.\.?$|(.*[/\\])?\.\.[/\\]|.*\0", re.DOTALL)


def file_name(value: Any) -> str:
    """Parses a relative file path: not absolute (also on Windows), without ``..``, short enough for a file system."""
    if isinstance(value, str) and value and not _LEAVES_ITS_FOLDER.match(value):
        if len(value) <= _LONGEST_NAME or all(len(part.encode()) <= _LONGEST_NAME for part in value.split("/")):
            return value
        raise TypeError("a name that a disk can hold")
    raise TypeError("the path of a file inside its folder")


def _area(value: Any) -> int | float | None:
    # May be fractional: some tools write the area of polygons, and panopticapi uses it as it is.
    if value is None or (type(value) in (int, float) and 0 < value < 2**53):
        return value  # type: ignore[no-any-return]
    raise TypeError("a positive number of pixels")


def _pixels(value: Any) -> int:
    if (pixels := whole(value)) < 0:
        raise TypeError("a number of pixels")
    return pixels
