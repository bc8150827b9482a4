"""All annotations of a panoptic json as columns, in a fraction of the memory of an object per segment."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from opsnet.data.coco_panoptic import PanopticJson, parse_entry, require_new, stream_panoptic
from opsnet.data.panoptic_records import ImageFile, ImageId, parse_png
from opsnet.data.segment_columns import parse_columns
from opsnet.utils.errors import DatasetError


@dataclass(frozen=True)
class PanopticColumns:
    """The I annotations of a ground truth's json with their S segments, in the order of the file.

    Attributes:
        path: the json.
        image_ids: (I) of the annotations.
        file_names: (I) of their PNGs.
        ends: (I,) row behind the last segment of each image.
        ids: (S,) of the segments in their PNG.
        category_ids: (S,).
        is_crowd: (S,) bool.
        covered: (S,) pixels of the area that other segments hide in the PNG.
    """

    path: Path
    image_ids: Sequence[ImageId]
    file_names: Sequence[str]
    ends: NDArray[np.int64]
    ids: NDArray[np.int32]
    category_ids: NDArray[np.int64]
    is_crowd: NDArray[np.bool_]
    covered: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.image_ids)

    def labels(self, label_of: Mapping[int, int], refuse: Callable[[ImageId, int], DatasetError]) -> NDArray[np.int32]:
        """Labels (S,) of the segments.

        Args:
            label_of: label of each category id.
            refuse: makes the error of an unknown category, given its image's id and the segment's row.

        Raises:
            DatasetError: the first one, if there is any.
        """
        found, place = np.unique(self.category_ids, return_inverse=True)
        labels = np.array([label_of.get(category_id, -1) for category_id in found.tolist()], np.int32)[place]
        if (unknown := np.flatnonzero(labels < 0)).size:
            row = int(unknown[0])
            raise refuse(self.image_ids[int(np.searchsorted(self.ends, row, "right"))], row)
        return labels


class PanopticLists(NamedTuple):
    """What a panoptic json holds.

    Attributes:
        columns: its annotations.
        listing: ``categories`` and ``images``.
    """

    columns: PanopticColumns
    listing: PanopticJson


def read_columns(path: Path, *, skip: int = 0, limit: int | None = None) -> PanopticLists:
    """Reads a ground truth's json, of which only a part is in memory at a time.

    Args:
        path: the json.
        skip: leave out the first annotations.
        limit: of the remaining ones, read only the first.

    Raises:
        DatasetError: the file is missing or damaged, or an annotation is invalid.
    """
    rest: dict[str, Any] = {}
    annotations = _Annotations()
    for key, number, value, *_ in stream_panoptic(path):
        if number is None:
            rest[key] = value
            annotations = _Annotations() if key == "annotations" else annotations
        elif key == "images":
            rest[key].append(_read_fields(value))
        elif skip <= number and (limit is None or number < skip + limit):
            parse_entry(path, key, number, value, annotations.add)
    listing = PanopticJson(path, data=rest)
    for _ in listing.annotations():  # none, but an error if there is no list
        pass
    return PanopticLists(annotations.columns(path), listing)


def _read_fields(image: Any) -> Any:
    """An entry of ``images`` without the fields that nobody reads, which take most of its memory."""
    return {key: image[key] for key in ImageFile._fields if key in image} if type(image) is dict else image


class _Annotations:
    """Columns that grow."""

    def __init__(self) -> None:
        self._seen: set[ImageId] = set()
        self._image_ids: list[ImageId] = []
        self._file_names: list[str] = []
        self._ends = array("q")
        self._ids, self._category_ids, self._is_crowd, self._covered = array("i"), array("q"), array("b"), array("q")

    def add(self, record: Any) -> None:
        """Adds an annotation.

        Raises:
            FieldError: it is invalid, or there is another one of its image.
        """
        image_id, file_name = parse_png(record)
        segments = parse_columns(record)
        require_new(image_id, self._seen)
        self._image_ids.append(image_id)
        self._file_names.append(file_name)
        self._ids.extend(segments.ids)
        self._category_ids.extend(segments.category_ids)
        self._is_crowd.extend(segments.is_crowd)
        self._covered.extend(segments.covered)
        self._ends.append(len(self._ids))

    def columns(self, path: Path) -> PanopticColumns:
        """The columns so far."""
        return PanopticColumns(
            path,
            self._image_ids,
            self._file_names,
            np.array(self._ends),
            np.array(self._ids, np.int32),
            np.array(self._category_ids),
            np.array(self._is_crowd, np.bool_),
            np.array(self._covered),
        )
