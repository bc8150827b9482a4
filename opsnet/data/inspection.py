"""Inspection of one annotated image: compares its json entries with its two files.

Nothing here raises on bad data, because the doctor continues after the first defect; :mod:`opsnet.data.set_inspection`
inspects whole sets.
"""

from __future__ import annotations

import reprlib
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
from opsnet.data.findings import Finding
from opsnet.data.images import read_rgb, require_decodable, upright_size
from opsnet.data.panoptic_png import PngModeError, read_ids
from opsnet.data.panoptic_records import SegmentInfo, out_of_range, parse_segments, repeated
from opsnet.data.segment_measures import Box, measure
from opsnet.structures import PanopticMap, Segment
from opsnet.utils.errors import DatasetError
from opsnet.utils.json_fields import FieldError
from opsnet.vocabulary import Vocabulary

Size = tuple[int, int]
"""Width and height in pixels."""


@dataclass(frozen=True)
class AnnotatedImage:
    """One annotation of a json, not yet validated.

    Attributes:
        image: its entry in ``images``, empty if there is none.
        annotation: its entry in ``annotations``.
        image_file, png: the two files, ``None`` if missing.
    """

    image: Mapping[str, Any]
    annotation: Mapping[str, Any]
    image_file: Path | None
    png: Path | None

    @property
    def name(self) -> str:
        """The name used in findings."""
        return str(self.annotation["file_name"])


@dataclass(frozen=True)
class ImageReport:
    """The result of inspecting one image.

    Attributes:
        findings: its defects.
        segments: all segments listed in the json, of any category.
        is_drawable: whether both files can be read and have the same size.
    """

    findings: tuple[Finding, ...]
    segments: tuple[SegmentInfo, ...]
    is_drawable: bool


def inspect_image(annotated: AnnotatedImage, vocabulary: Vocabulary) -> ImageReport:
    """Fully reads both files of an image and compares them with the json and the vocabulary."""
    found: list[Finding] = []
    try:
        segments: tuple[SegmentInfo, ...] | None = parse_segments(annotated.annotation)
    except FieldError as error:
        segments = None
        found.append(Finding(kinds.MALFORMED, annotated.name, str(error)))
    size, ids = _size(annotated.image_file, found), _ids(annotated.png, annotated.name, found)
    found += _compare_sizes(annotated, size, ids)
    if segments is not None:
        found += _check_listed(annotated.name, segments, vocabulary)
        if ids is not None:
            found += _compare_pixels(annotated, segments, ids)
    is_drawable = ids is not None and segments is not None and size == ids.shape[::-1]
    return ImageReport(tuple(found), segments or (), is_drawable)


def read_sample(annotated: AnnotatedImage, vocabulary: Vocabulary) -> tuple[NDArray[np.uint8], PanopticMap]:
    """Reads a drawable image (H, W, 3) and its ground truth, with crowd and without segments of unknown categories.

    Raises:
        ValueError: the image is not drawable, see ``ImageReport``.
    """
    if annotated.image_file is None or annotated.png is None:
        raise ValueError(f"{annotated.name} lacks one of its files")
    pixels, ids = read_rgb(annotated.image_file), read_ids(annotated.png)
    known = [s for s in parse_segments(annotated.annotation) if s.category_id in vocabulary.index_of_id]
    labels = [vocabulary.index_of_id[s.category_id] for s in known]
    truth = tuple(
        Segment(id=s.id, label=label, is_thing=vocabulary.is_thing[label], is_crowd=s.is_crowd)
        for s, label in zip(known, labels, strict=True)
    )
    return pixels, PanopticMap(torch.from_numpy(ids.astype(np.int64)), truth)


def _size(path: Path | None, found: list[Finding]) -> Size | None:
    """Size of the upright image, after decoding the whole file."""
    if path is None:
        return None
    try:
        with Image.open(path) as image:
            size, (width, height) = upright_size(image), image.size
            require_decodable(image)
            # Decode a JPEG at an eighth of its size: all data is read, but most of the arithmetic is skipped.
            image.draft("RGB", (max(1, width // 8), max(1, height // 8)))
            image.load()
    except Exception as error:  # Pillow's readers raise whatever their parsing stumbles over, SyntaxError included
        found.append(Finding(kinds.UNREADABLE_IMAGE, path.name, reason_of(error)))
        return None
    return size


def _ids(path: Path | None, name: str, found: list[Finding]) -> NDArray[np.int32] | None:
    """Segment ids (H, W)."""
    if path is None:
        return None
    try:
        return read_ids(path)
    except PngModeError as error:
        found.append(Finding(kinds.WRONG_MODE, name, str(error)))
    except DatasetError as error:
        found.append(Finding(kinds.UNREADABLE_PNG, name, str(error)))
    return None


def _compare_sizes(annotated: AnnotatedImage, size: Size | None, ids: NDArray[np.int32] | None) -> Iterator[Finding]:
    read = size if ids is None else (ids.shape[1], ids.shape[0])
    if read is None:
        return
    if size is not None and size != read:
        message = "is {} x {} pixels, its image {} x {}".format(*read, *size)
        yield Finding(kinds.OTHER_SIZE, annotated.name, message)
    given = [annotated.image.get(key) for key in ("width", "height")]
    if any(g is not None and g != r for g, r in zip(given, read, strict=True)):
        message = "is {} x {} pixels, but {} x {} in `images`".format(*read, *given)
        yield Finding(kinds.WRONG_SIZE, annotated.name, message)


def _check_listed(name: str, segments: Sequence[SegmentInfo], vocabulary: Vocabulary) -> Iterator[Finding]:
    """Defects visible in the json alone."""
    counts = Counter(s.id for s in segments)
    for value in out_of_range(counts):
        yield Finding(kinds.ID_RANGE, name, f"has segment id {value}")
    for value in dict.fromkeys(repeated(s.id for s in segments)):
        yield Finding(kinds.REPEATED_ID, name, f"lists segment {value} {counts[value]} times")
    for s in segments:
        label = vocabulary.index_of_id.get(s.category_id)
        if label is None:
            yield Finding(kinds.UNKNOWN_CATEGORY, name, f"segment {s.id} has category {s.category_id}")
        elif s.is_crowd and not vocabulary.is_thing[label]:
            yield Finding(kinds.STUFF_CROWD, name, f"segment {s.id} is crowd of '{vocabulary.names[label]}'")
    for category, count in Counter(s.category_id for s in segments if s.is_crowd).items():
        if count > 1:
            label = vocabulary.index_of_id.get(category)
            called = f"category {category}" if label is None else f"'{vocabulary.names[label]}'"
            yield Finding(kinds.REPEATED_CROWD, name, f"has {count} crowd segments of {called}")


def _compare_pixels(
    annotated: AnnotatedImage, segments: Sequence[SegmentInfo], ids: NDArray[np.int32]
) -> Iterator[Finding]:
    """Defects visible when json and PNG are compared."""
    name, unusable = annotated.name, set(out_of_range(s.id for s in segments))
    measures = measure(ids, (s.id for s in segments if s.id not in unusable))
    if others := measures.unlisted:
        shown = ", ".join(map(str, others[:3])) + f" and {len(others) - 3} more" * (len(others) > 3)
        yield Finding(kinds.UNLISTED_ID, name, f"holds {shown} in {measures.unlisted_area} pixels")
    for s, info in zip(segments, annotated.annotation["segments_info"], strict=True):
        if s.id in measures.areas:
            yield from _compare_segment(name, s, info.get("bbox"), measures.areas[s.id], measures.boxes[s.id])
        elif s.id not in unusable and not s.covered:
            yield Finding(kinds.ABSENT_ID, name, f"segment {s.id} is in the json alone")


def _compare_segment(name: str, segment: SegmentInfo, given_box: object, area: int, box: Box) -> Iterator[Finding]:
    if segment.area is not None and segment.area != area + segment.covered:
        message = f"segment {segment.id} has area {segment.area} in the json, but {area} pixels"
        yield Finding(kinds.WRONG_AREA, name, message)
    if given_box is not None and given_box != list(box) and not segment.covered:
        message = f"segment {segment.id} has bbox {reprlib.repr(given_box)} in the json, but lies in {list(box)}"
        yield Finding(kinds.WRONG_BOX, name, message)


def reason_of(error: Exception) -> str:
    """An exception's type and message: the message of a ``KeyError`` alone is just the key."""
    return f"{type(error).__name__}: {error}"
