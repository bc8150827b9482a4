"""The examination of one annotated picture: what the json says of it beside what its two files hold.

Nothing here raises on bad data, because a doctor goes on after the first defect; :mod:`opsnet.data.set_inspection`
examines whole sets.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from opsnet.data import findings as kinds
from opsnet.data.conversion import rgb_to_ids
from opsnet.data.findings import Finding
from opsnet.data.panoptic_json import MAX_ID
from opsnet.data.pictures import to_rgb, upright_size
from opsnet.data.segment_measures import Box, measure
from opsnet.structures import PanopticMap, Segment
from opsnet.vocabulary import Vocabulary

Size = tuple[int, int]
"""Width and height in pixels."""

NOT_OF_THE_FORMAT = (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError)
"""What reading a json raises where its values are not what they should be."""


@dataclass(frozen=True)
class Picture:
    """One annotation of a json; nothing in it is known to be right.

    Attributes:
        image: its entry in ``images``, empty where there is none.
        annotation: its entry in ``annotations``.
        picture, png: the two files, ``None`` where one is missing.
    """

    image: Mapping[str, Any]
    annotation: Mapping[str, Any]
    picture: Path | None
    png: Path | None

    @property
    def name(self) -> str:
        """What findings call it."""
        return str(self.annotation["file_name"])


@dataclass(frozen=True)
class ListedSegment:
    """A segment as the json gives it; ``area`` (pixels) and ``box`` (left, top, width, height) may be left out.

    ``covered`` are pixels of both that other segments hide in the PNG.
    """

    id: int
    category: int
    is_crowd: bool
    area: float | None
    box: tuple[float, ...] | None
    covered: int = 0


@dataclass(frozen=True)
class PictureReport:
    """What one picture holds.

    Attributes:
        findings: its defects.
        segments: all that the json lists, with any category.
        is_drawable: both files can be read and have one size.
    """

    findings: tuple[Finding, ...]
    segments: tuple[ListedSegment, ...]
    is_drawable: bool


def inspect_picture(picture: Picture, vocabulary: Vocabulary) -> PictureReport:
    """Reads both files of a picture in full and compares them with the json and the vocabulary."""
    found: list[Finding] = []
    try:
        segments: tuple[ListedSegment, ...] | None = _listed(picture.annotation)
    except NOT_OF_THE_FORMAT as error:
        segments = None
        found.append(Finding(kinds.MALFORMED, picture.name, reason_of(error)))
    size, ids = _size(picture.picture, found), _ids(picture.png, picture.name, found)
    found += _compare_sizes(picture, size, ids)
    if segments is not None:
        found += _check_listed(picture.name, segments, vocabulary)
        if ids is not None:
            found += _compare_pixels(picture.name, segments, ids)
    is_drawable = ids is not None and segments is not None and size == ids.shape[::-1]
    return PictureReport(tuple(found), segments or (), is_drawable)


def read_sample(picture: Picture, vocabulary: Vocabulary) -> tuple[NDArray[np.uint8], PanopticMap]:
    """A drawable picture (H, W, 3) and its ground truth; crowd is there, segments of unknown categories are not.

    Raises:
        ValueError: the picture is not drawable, see ``PictureReport``.
    """
    if picture.picture is None or picture.png is None:
        raise ValueError(f"{picture.name} lacks one of its files")
    with Image.open(picture.picture) as image, Image.open(picture.png) as png:
        pixels, ids = to_rgb(image), rgb_to_ids(np.asarray(png.convert("RGB")))
    known = [s for s in _listed(picture.annotation) if s.category in vocabulary.index_of_id]
    labels = [vocabulary.index_of_id[s.category] for s in known]
    truth = tuple(
        Segment(id=s.id, label=label, is_thing=vocabulary.is_thing[label], is_crowd=s.is_crowd)
        for s, label in zip(known, labels, strict=True)
    )
    return pixels, PanopticMap(torch.from_numpy(ids.astype(np.int64)), truth)


def _listed(annotation: Mapping[str, Any]) -> tuple[ListedSegment, ...]:
    return tuple(
        ListedSegment(
            id=int(s["id"]),
            category=int(s["category_id"]),
            is_crowd=bool(int(s.get("iscrowd", 0))),
            area=float(s["area"]) if s.get("area") is not None else None,
            box=tuple(float(v) for v in s["bbox"]) if s.get("bbox") is not None else None,
            covered=int(s.get("covered", 0)),
        )
        for s in annotation["segments_info"]
    )


def _size(path: Path | None, found: list[Finding]) -> Size | None:
    """The upright picture's size, after every byte was decoded."""
    if path is None:
        return None
    try:
        with Image.open(path) as image:
            size, (width, height) = upright_size(image), image.size
            # A JPEG at an eighth of its size: all its data are read, but most of the arithmetic is left out.
            image.draft("RGB", (max(1, width // 8), max(1, height // 8)))
            image.load()
    except Exception as error:  # Pillow's readers raise whatever their parsing stumbles over, SyntaxError included
        found.append(Finding(kinds.UNREADABLE_PICTURE, path.name, reason_of(error)))
        return None
    return size


def _ids(path: Path | None, name: str, found: list[Finding]) -> NDArray[np.int32] | None:
    """Segment ids (H, W)."""
    if path is None:
        return None
    try:
        with Image.open(path) as png:
            if png.mode not in ("RGB", "RGBA", "P"):
                found.append(Finding(kinds.WRONG_MODE, name, f"is of mode {png.mode}"))
                return None
            return rgb_to_ids(np.asarray(png.convert("RGB")))
    except Exception as error:  # as above
        found.append(Finding(kinds.UNREADABLE_PNG, name, reason_of(error)))
        return None


def _compare_sizes(picture: Picture, size: Size | None, ids: NDArray[np.int32] | None) -> Iterator[Finding]:
    read = size if ids is None else (ids.shape[1], ids.shape[0])
    if read is None:
        return
    if size is not None and size != read:
        message = "is {} x {} pixels, its picture {} x {}".format(*read, *size)
        yield Finding(kinds.OTHER_SIZE, picture.name, message)
    given = [picture.image.get(key) for key in ("width", "height")]
    if any(g is not None and g != r for g, r in zip(given, read, strict=True)):
        message = "is {} x {} pixels, but {} x {} in `images`".format(*read, *given)
        yield Finding(kinds.WRONG_SIZE, picture.name, message)


def _check_listed(name: str, segments: Sequence[ListedSegment], vocabulary: Vocabulary) -> Iterator[Finding]:
    """What the json alone shows."""
    for value, count in Counter(s.id for s in segments).items():
        if not 0 < value < MAX_ID:
            yield Finding(kinds.ID_RANGE, name, f"has segment id {value}")
        if count > 1:
            yield Finding(kinds.REPEATED_ID, name, f"lists segment {value} {count} times")
    for s in segments:
        label = vocabulary.index_of_id.get(s.category)
        if label is None:
            yield Finding(kinds.UNKNOWN_CATEGORY, name, f"segment {s.id} has category {s.category}")
        elif s.is_crowd and not vocabulary.is_thing[label]:
            yield Finding(kinds.STUFF_CROWD, name, f"segment {s.id} is crowd of '{vocabulary.names[label]}'")
    for category, count in Counter(s.category for s in segments if s.is_crowd).items():
        if count > 1:
            label = vocabulary.index_of_id.get(category)
            called = f"category {category}" if label is None else f"'{vocabulary.names[label]}'"
            yield Finding(kinds.REPEATED_CROWD, name, f"has {count} crowd segments of {called}")


def _compare_pixels(name: str, segments: Sequence[ListedSegment], ids: NDArray[np.int32]) -> Iterator[Finding]:
    """What json and PNG show together."""
    measures = measure(ids, (s.id for s in segments if 0 < s.id < MAX_ID))
    if others := measures.unlisted:
        shown = ", ".join(map(str, others[:3])) + f" and {len(others) - 3} more" * (len(others) > 3)
        yield Finding(kinds.UNLISTED_ID, name, f"holds {shown} in {measures.unlisted_area} pixels")
    for s in segments:
        if s.id in measures.areas:
            yield from _compare_segment(name, s, measures.areas[s.id], measures.boxes[s.id])
        elif 0 < s.id < MAX_ID and not s.covered:
            yield Finding(kinds.ABSENT_ID, name, f"segment {s.id} is in the json alone")


def _compare_segment(name: str, segment: ListedSegment, area: int, box: Box) -> Iterator[Finding]:
    if segment.area is not None and segment.area != area + segment.covered:
        message = f"segment {segment.id} has area {segment.area:g} in the json, but {area} pixels"
        yield Finding(kinds.WRONG_AREA, name, message)
    if segment.box is not None and segment.box != box and not segment.covered:
        given = ", ".join(f"{v:g}" for v in segment.box)
        message = f"segment {segment.id} has bbox [{given}] in the json, but lies in {list(box)}"
        yield Finding(kinds.WRONG_BOX, name, message)


def reason_of(error: Exception) -> str:
    """What an exception says, with its kind: a ``KeyError`` alone says no more than the key."""
    return f"{type(error).__name__}: {error}"
