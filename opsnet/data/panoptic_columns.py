"""All annotations of a panoptic json as columns, in a fraction of the memory of an object per segment."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from opsnet.data.coco_panoptic import PanopticJson, parse_entry, require_new
from opsnet.data.panoptic_png import MAX_ID
from opsnet.data.panoptic_records import ImageFile, ImageId, SegmentInfo, parse_annotation, parse_png
from opsnet.utils.errors import DatasetError
from opsnet.utils.json_stream import stream_json
from opsnet.utils.structured_files import FileError

_NAN = float("nan")
_UNSTATED = (False, _NAN, 0)
"""Crowd, area and covered pixels of a segment that does not state them."""


@dataclass(frozen=True)
class PanopticColumns:
    """The I annotations of a json with their S segments, in the order of the file.

    Attributes:
        path: the json.
        image_ids: (I) of the annotations.
        file_names: (I) of their PNGs.
        ends: (I,) row behind the last segment of each image.
        ids: (S,) of the segments in their PNG.
        category_ids: (S,).
        is_crowd: (S,) bool; all false for a prediction.
        areas: (S,) pixels as stated in the json, possibly fractional; NaN if not stated, and for a prediction.
        covered: (S,) pixels of the area that other segments hide in the PNG.
    """

    path: Path
    image_ids: Sequence[ImageId]
    file_names: Sequence[str]
    ends: NDArray[np.int64]
    ids: NDArray[np.int32]
    category_ids: NDArray[np.int64]
    is_crowd: NDArray[np.bool_]
    areas: NDArray[np.float64]
    covered: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.image_ids)

    def rows(self, image: int) -> slice:
        """The rows of an annotation's segments."""
        return slice(int(self.ends[image - 1]) if image else 0, int(self.ends[image]))

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


def read_columns(path: Path, *, predicted: bool = False, skip: int = 0, limit: int | None = None) -> PanopticLists:
    """Reads a panoptic json, of which only a part is in memory at a time.

    Args:
        path: the json.
        predicted: whether it is a prediction, of which panopticapi reads only ids and categories, and which may
            annotate an image several times.
        skip: leave out the first annotations.
        limit: of the remaining ones, read only the first.

    Raises:
        DatasetError: the file is missing or damaged, or an annotation is invalid.
    """
    rest: dict[str, Any] = {}
    annotations = _Annotations(predicted)
    try:
        for key, number, value in stream_json(path, ("images", "annotations"), what="COCO's panoptic format"):
            if number is None:
                rest[key] = value
                annotations = _Annotations(predicted) if key == "annotations" else annotations
            elif key == "images":
                rest[key].append(_read_fields(value))
            elif skip <= number and (limit is None or number < skip + limit):
                parse_entry(path, key, number, value, annotations.add)
    except FileError as error:
        raise DatasetError(f"{path} {error}") from error
    listing = PanopticJson(path, data=rest)
    for _ in listing.annotations():  # none, but an error if there is no list
        pass
    return PanopticLists(annotations.columns(path), listing)


def _read_fields(image: Any) -> Any:
    """An entry of ``images`` without the fields that nobody reads, which take most of its memory."""
    return {key: image[key] for key in ImageFile._fields if key in image} if type(image) is dict else image


class _Segments(NamedTuple):
    """The segments of one image, as columns; of a prediction, only the first two."""

    ids: Sequence[int]
    category_ids: Sequence[int]
    is_crowd: Sequence[int]
    areas: Sequence[float]
    covered: Sequence[int]


class _Annotations:
    """Columns that grow."""

    def __init__(self, predicted: bool) -> None:
        self._predicted = predicted
        self._seen: set[ImageId] = set()
        self._image_ids: list[ImageId] = []
        self._file_names: list[str] = []
        self._ends = array("q")
        self._columns = _Segments(array("i"), array("q"), array("b"), array("d"), array("q"))

    def add(self, record: Any) -> None:
        """Adds an annotation.

        Raises:
            FieldError: it is invalid, or the ground truth has another one of its image.
        """
        image_id, file_name = parse_png(record)
        segments = _plain(record.get("segments_info"), self._predicted)
        if segments is None:
            segments = _columns_of(parse_annotation(record, predicted=self._predicted).segments, self._predicted)
        if not self._predicted:
            require_new(image_id, self._seen)
        self._image_ids.append(image_id)
        self._file_names.append(file_name)
        for column, values in zip(self._columns, segments):
            column.extend(values)  # type: ignore[attr-defined]
        self._ends.append(len(self._columns.ids))

    def columns(self, path: Path) -> PanopticColumns:
        """The columns so far."""
        kinds = (np.int32, np.int64, np.bool_, np.float64, np.int64)
        segments: list[Any] = [np.array(column, kind) for column, kind in zip(self._columns, kinds)]
        if self._predicted:  # one value for all
            segments[2:] = [np.broadcast_to(kind(value), len(segments[0])) for kind, value in zip(kinds[2:], _UNSTATED)]
        return PanopticColumns(path, self._image_ids, self._file_names, np.array(self._ends), *segments)


def _columns_of(segments: Sequence[SegmentInfo], predicted: bool) -> _Segments:
    ids, category_ids = [s.id for s in segments], [s.category_id for s in segments]
    if predicted:
        return _Segments(ids, category_ids, (), (), ())
    areas = [_NAN if s.area is None else s.area for s in segments]
    return _Segments(ids, category_ids, [s.is_crowd for s in segments], areas, [s.covered for s in segments])


def _plain(infos: Any, predicted: bool) -> _Segments | None:
    """The segments of an annotation if all have the usual fields with plain values, as nearly all do.

    Otherwise :func:`parse_annotation`, which is much slower, finds values of other kinds or what is wrong.
    """
    if type(infos) is not list:
        return None
    try:
        ids, category_ids = [info["id"] for info in infos], [info["category_id"] for info in infos]
        crowd: list[Any] = [] if predicted else [info.get("iscrowd", 0) for info in infos]
        areas: list[Any] = [] if predicted else [info["area"] for info in infos]
        covered: list[Any] = [] if predicted else [info.get("covered", 0) for info in infos]
    except (KeyError, TypeError, AttributeError):
        return None
    are_valid = (
        _whole(ids, 0 if predicted else 1) and len(set(ids)) == len(ids)
        and _whole(category_ids) and _whole(crowd, 0, 2) and _whole(areas, 1) and _whole(covered)
    )  # fmt: skip
    return _Segments(ids, category_ids, crowd, areas, covered) if are_valid else None


def _whole(values: Sequence[Any], lowest: int = 0, end: int = MAX_ID) -> bool:
    """Whether all are integers from ``lowest`` to below ``end``."""
    return not values or ({*map(type, values)} == {int} and lowest <= min(values) and max(values) < end)
