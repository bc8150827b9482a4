"""Where each annotation of a panoptic json stands in the file: all are checked, and read again one at a time.

What is kept of an image of a large json are 48 bytes, however many segments it has. Hashes are Python's: they differ
from process to process, but not between copies made by fork, and 64 bits make equal ones of different values unlikely
enough.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from opsnet.data.coco_panoptic import PanopticJson, parse_entry, require_new, stream_panoptic
from opsnet.data.panoptic_records import ImageFile, ImageId, parse_image, parse_png
from opsnet.data.segment_columns import SegmentColumns, parse_columns
from opsnet.utils.errors import DatasetError
from opsnet.utils.json_fields import FieldError

IntArray = NDArray[np.int64]
LARGE_JSON = 2**20
"""Bytes; of a smaller json all annotations are kept, because reading them again costs time and keeping them little."""


class IndexedAnnotation(NamedTuple):
    """What scoring needs of one entry of ``annotations``.

    Attributes:
        image_id: of its image.
        file_name: of its PNG.
        segments: those of the json, S of them.
    """

    image_id: ImageId
    file_name: str
    segments: SegmentColumns


class ImageNames(NamedTuple):
    """The N entries of ``images``.

    Attributes:
        keys: (N,) of the ids, see :func:`key_of`.
        stems: (N,) hashes of the file names without folders and suffix.
    """

    keys: IntArray
    stems: IntArray


@dataclass(frozen=True)
class PanopticIndex:
    """The I annotations of a json, in the order of the file.

    Attributes:
        path: the json.
        predicted: whether it is a prediction, of which panopticapi reads only ids and categories, and which may list an
            image several times.
        keys: (I,) of the image ids, see :func:`key_of`.
        starts: (I,) first byte of each annotation in the file.
        sizes: (I,) its bytes.
        hashes: (I,) of what was read there.
        first_with: position of the first annotation with each category id.
        names: of ``images``; ``None`` if that list is missing or invalid, or has an id twice.
        listing: the json without the entries of ``images`` and ``annotations``.
        kept: (I) annotations of a small json; none of a large one.
    """

    path: Path
    predicted: bool
    keys: IntArray
    starts: IntArray
    sizes: IntArray
    hashes: IntArray
    first_with: dict[int, int]
    names: ImageNames | None
    listing: PanopticJson
    kept: Sequence[IndexedAnnotation]

    def __len__(self) -> int:
        return len(self.keys)

    def annotation(self, number: int) -> IndexedAnnotation:
        """One annotation, which is read again if the json is large.

        Args:
            number: its position, 0 to I - 1.

        Raises:
            DatasetError: it is not what it was.
        """
        if self.kept:
            return self.kept[number]
        try:
            with open(self.path, "rb") as file:
                file.seek(self.starts[number])
                annotation = _parse(json.loads(file.read(self.sizes[number])), self.predicted)
        except (OSError, ValueError):
            raise self._changed() from None
        except RecursionError as error:  # more functions may be active than when all were read
            raise DatasetError(f"{self.path} is nested too deeply: replace the file") from error
        if hash(annotation) != self.hashes[number]:
            raise self._changed()
        return annotation

    def image(self, number: int) -> ImageFile:
        """Finds an entry of ``images``, for which it reads the file from its start; ``names`` is not ``None``.

        Args:
            number: its position, 0 to N - 1.

        Raises:
            DatasetError: it is not what it was.
        """
        assert self.names is not None
        entries = stream_panoptic(self.path)
        found = [value for key, place, value, *_ in entries if (key, place) == ("images", number)]
        try:
            image = parse_image(found[-1])
        except (IndexError, FieldError):
            raise self._changed() from None
        if (key_of(image.id), hash(stem_of(image.file_name))) != (self.names.keys[number], self.names.stems[number]):
            raise self._changed()
        return image

    def _changed(self) -> DatasetError:
        return DatasetError(f"{self.path} was changed while it was read: run the same command again")


def key_of(image_id: ImageId) -> int:
    """A number that stands for an image id: itself, or the hash of a name."""
    return image_id if isinstance(image_id, int) else hash(image_id)


def seen_before(keys: IntArray) -> IntArray:
    """Positions, ascending, of those of the keys (N,) that occur at an earlier position too."""
    order = np.argsort(keys, kind="stable")
    return np.sort(order[1:][keys[order[1:]] == keys[order[:-1]]])


def index_annotations(path: Path, *, predicted: bool = False) -> PanopticIndex:
    """Reads and checks a panoptic json, of which only a part is in memory at a time.

    Args:
        path: the json.
        predicted: see :class:`PanopticIndex`.

    Raises:
        DatasetError: the file is missing, damaged or changed meanwhile, an annotation is invalid, or a ground truth
            annotates an image twice.
    """
    keep, rest = not is_large(path), dict[str, Any]()
    annotations, names = _Annotations(keep), _Names()
    for key, number, value, start, end in stream_panoptic(path):
        if number is None:
            rest[key] = value
            annotations = _Annotations(keep) if key == "annotations" else annotations
            names = _Names() if key == "images" else names
        elif key == "images":
            names.add(value)
        else:
            annotations.add(parse_entry(path, key, number, value, partial(_parse, predicted=predicted)), start, end)
    listing = PanopticJson(path, data=rest)
    for _ in listing.annotations():  # none, but an error if there is no list
        pass
    found_names = names.checked() if rest.get("images") == [] else None
    index = annotations.index(path, predicted, found_names, listing)
    if not predicted and (again := seen_before(index.keys)).size:
        image_id = index.annotation(again[0]).image_id
        parse_entry(path, "annotations", again[0], {"image_id": image_id}, lambda _: require_new(image_id, {image_id}))
    return index


def is_large(path: Path) -> bool:
    """Whether a json has at least :data:`LARGE_JSON` bytes; false if it does not exist, which its reader reports."""
    return path.is_file() and path.stat().st_size >= LARGE_JSON


def _parse(record: Any, predicted: bool) -> IndexedAnnotation:
    return IndexedAnnotation(*parse_png(record), parse_columns(record, predicted=predicted))


class _Annotations:
    """What is kept of annotations; grows."""

    def __init__(self, keep: bool) -> None:
        self._keep, self._kept = keep, list[IndexedAnnotation]()
        self._columns = array("q"), array("q"), array("q"), array("q")
        self._first_with: dict[int, int] = {}

    def add(self, annotation: IndexedAnnotation, start: int, end: int) -> None:
        for category_id in annotation.segments.category_ids:
            self._first_with.setdefault(category_id, len(self._columns[0]))
        for column, value in zip(self._columns, (key_of(annotation.image_id), start, end - start, hash(annotation))):
            column.append(value)
        if self._keep:
            self._kept.append(annotation)

    def index(self, path: Path, predicted: bool, names: ImageNames | None, listing: PanopticJson) -> PanopticIndex:
        keys, starts, sizes, hashes = (np.array(column, np.int64) for column in self._columns)
        return PanopticIndex(path, predicted, keys, starts, sizes, hashes, self._first_with, names, listing, self._kept)


class _Names:
    """What is kept of ``images``; grows."""

    def __init__(self) -> None:
        self._keys, self._stems, self._are_valid = array("q"), array("q"), True

    def add(self, record: Any) -> None:
        try:
            image = parse_image(record)
        except FieldError:  # panopticapi does not read this list
            self._are_valid = False
        else:
            self._keys.append(key_of(image.id))
            self._stems.append(hash(stem_of(image.file_name)))

    def checked(self) -> ImageNames | None:
        """The names, or ``None`` if an entry is invalid or an id occurs twice."""
        names = ImageNames(np.array(self._keys, np.int64), np.array(self._stems, np.int64))
        return names if self._are_valid and not seen_before(names.keys).size else None


def stem_of(file_name: str) -> str:
    """A file's name without folders, also Windows', and suffix."""
    return PurePosixPath(file_name.replace("\\", "/")).stem
