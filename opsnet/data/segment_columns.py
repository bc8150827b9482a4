"""The segments of one annotation of a panoptic json as columns; nearly all are read without a function for each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from opsnet.data.panoptic_png import MAX_ID
from opsnet.data.panoptic_records import parse_annotation


class SegmentColumns(NamedTuple):
    """The S segments of an annotation as tuples; of a prediction the last three are empty: panopticapi ignores them.

    Attributes:
        ids: (S) in the PNG.
        category_ids: (S).
        is_crowd: (S) 0 or 1.
        areas: (S) pixels as stated in the json, possibly fractional; ``None`` if not stated.
        covered: (S) pixels of the area that other segments hide in the PNG.
    """

    ids: tuple[int, ...]
    category_ids: tuple[int, ...]
    is_crowd: tuple[int, ...]
    areas: tuple[int | float | None, ...]
    covered: tuple[int, ...]


def parse_columns(record: Any, *, predicted: bool = False) -> SegmentColumns:
    """The segments of an entry of ``annotations``, as :func:`opsnet.data.panoptic_records.parse_annotation` reads them.

    Its image and PNG are read by :func:`opsnet.data.panoptic_records.parse_png`.

    Raises:
        FieldError: the segments are invalid.
    """
    segments = _plain(record.get("segments_info"), predicted) if type(record) is dict else None
    if segments is not None:
        return segments
    rows = parse_annotation(record, predicted=predicted).segments
    ids, category_ids, *others = zip(*rows) if rows else ((),) * len(SegmentColumns._fields)
    return SegmentColumns(ids, category_ids, *([()] * 3 if predicted else others))


def _plain(infos: Any, predicted: bool) -> SegmentColumns | None:
    """The segments if all have the usual fields with plain values, as nearly all do.

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
    return SegmentColumns(*map(tuple, (ids, category_ids, crowd, areas, covered))) if are_valid else None


def _whole(values: Sequence[Any], lowest: int = 0, end: int = MAX_ID) -> bool:
    """Whether all are integers from ``lowest`` to below ``end``."""
    return not values or ({*map(type, values)} == {int} and lowest <= min(values) and max(values) < end)
