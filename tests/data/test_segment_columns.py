"""parse_columns: segments of the usual kind, which are read at once, as any other."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from opsnet.data import segment_columns
from opsnet.data.panoptic_records import parse_annotation
from opsnet.data.segment_columns import SegmentColumns, parse_columns
from opsnet.utils.json_fields import FieldError

VALUES: dict[str, list[Any]] = {
    "id": [1, 0, -1, 2**24 - 1, 2**24, 2**60, 3.0, 3.5, True, "1", None],
    "category_id": [1, 0, -1, 2**24, 2.0, False, "cat", None],
    "iscrowd": [0, 1, 2, -1, True, 1.0, "0", None],
    "area": [1, 0, -5, 2**24, 2**53, 7.5, True, "9", None],
    "covered": [0, 4, -1, 2**24, 1.0, "2", None],
}
USUAL = {"id": 7, "category_id": 3, "iscrowd": 1, "area": 12}


def annotation(*segments: Any) -> dict[str, Any]:
    return {"image_id": 1, "file_name": "1.png", "segments_info": list(segments)}


def test_by_hand() -> None:
    """A crowd without area, hidden pixels and the area of a polygon; of a prediction only ids and categories."""
    first, second = {"id": 9, "category_id": 2, "iscrowd": 1}, {"id": 6, "category_id": 2, "area": 2.5, "covered": 2}
    assert parse_columns(annotation(first, second)) == SegmentColumns(
        (9, 6), (2, 2), (True, False), (None, 2.5), (0, 2)
    )
    odd = {"id": 0, "category_id": 2, "area": "many", "iscrowd": 7}
    assert parse_columns(annotation(odd), predicted=True) == SegmentColumns((0,), (2,), (), (), ())
    for predicted in (False, True):
        assert [*map(len, parse_columns(annotation(), predicted=predicted))] == [0] * 5


def outcome(record: dict[str, Any], predicted: bool) -> object:
    try:
        columns = parse_columns(record, predicted=predicted)
    except FieldError as error:
        return str(error)
    return [list(column) for column in columns]


@pytest.mark.parametrize("predicted", [False, True])
def test_the_usual_kind_is_read_as_any_other(predicted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    records = []
    for (first, given), (second, other) in itertools.product(VALUES.items(), repeat=2):
        for value, another in itertools.product(given, other):
            info = {**USUAL, first: value, second: another}
            for missing in (None, *USUAL):
                one = {key: v for key, v in info.items() if key != missing}
                records.append(annotation({**USUAL, "id": 5}, one))
    usual = [outcome(record, predicted) for record in records]
    monkeypatch.setattr(segment_columns, "_plain", lambda *_: None)
    for record, found in zip(records, usual, strict=True):
        assert found == outcome(record, predicted), record
    assert {type(found) for found in usual} == {list, str}


@pytest.mark.parametrize("segments", [None, 3, "ids", {}, [3], ["ids"], [[]], [None]])
def test_segments_of_a_wrong_kind_are_refused_as_any(segments: Any) -> None:
    record = {**annotation(), "segments_info": segments}
    with pytest.raises(FieldError) as expected:
        parse_annotation(record)
    with pytest.raises(FieldError) as found:
        parse_columns(record)
    assert str(found.value) == str(expected.value)


@pytest.mark.parametrize("record", [None, 3, "text", []])
def test_what_is_no_object_is_refused(record: Any) -> None:
    with pytest.raises(FieldError, match="is not an object with"):
        parse_columns(record)
