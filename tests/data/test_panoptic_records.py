"""Segments of a json: the usual kind, which is parsed at once, gives what field by field gives."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from opsnet.data.panoptic_records import parse_segments
from opsnet.utils.json_fields import FieldError

VALUES: dict[str, list[Any]] = {
    "id": [1, 0, -1, 2**24 - 1, 2**24, 2**60, 3.0, 3.5, True, "1", None],
    "category_id": [1, 0, -1, 2**24, 2.0, False, "cat", None],
    "iscrowd": [0, 1, 2, -1, True, 1.0, "0", None],
    "area": [1, 0, -5, 2**53, 7.5, True, "9", None],
    "covered": [0, 4, -1, 1.0, "2", None],
}
USUAL = {"id": 7, "category_id": 3, "iscrowd": 1, "area": 12}


class FieldByField(dict[str, Any]):
    """Not a plain dict, so that no segment is of the usual kind."""


def outcome(info: dict[str, Any], predicted: bool) -> object:
    try:
        return [(value, type(value)) for value in parse_segments({"segments_info": [info]}, predicted=predicted)[0]]
    except FieldError as error:
        return str(error)


@pytest.mark.parametrize("predicted", [False, True])
def test_the_usual_kind_is_parsed_as_any_other(predicted: bool) -> None:
    seen = set()
    for (first, given), (second, other) in itertools.product(VALUES.items(), repeat=2):
        for value, another in itertools.product(given, other):
            info = {**USUAL, first: value, second: another}
            for missing in (None, *USUAL):
                one = {key: v for key, v in info.items() if key != missing}
                found = outcome(one, predicted)
                assert found == outcome(FieldByField(one), predicted), one
                seen.add(type(found))
    assert seen == {list, str}
