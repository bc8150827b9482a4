"""Fields of json records: what each kind takes, and the message of what it does not."""

from __future__ import annotations

import json

import pytest

from opsnet.utils.json_fields import FieldError, field, flag, items, nonblank, whole


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        (whole, "3", 3), (whole, "3.0", 3), (whole, "-0.0", 0), (whole, "-7", -7),
        (flag, "0", False), (flag, "1", True), (flag, "true", True), (flag, "1.0", True),
        (nonblank, '"cat"', "cat"), (items, "[1]", [1]),
    ],
)  # fmt: skip
def test_what_a_kind_takes(kind, text: str, expected) -> None:
    got = field(json.loads(f'{{"key": {text}}}'), "key", kind)
    assert (got, type(got)) == (expected, type(expected))


@pytest.mark.parametrize(
    ("kind", "text", "wanted"),
    [
        (whole, "2.5", "a whole number"), (whole, "Infinity", "a whole number"), (whole, "NaN", "a whole number"),
        (whole, "1e308", "a whole number"), (whole, "9" * 400, "a whole number"), (whole, '"3"', "a whole number"),
        (whole, "true", "a whole number"), (whole, "null", "a whole number"),
        (flag, "2", "0 or 1"), (flag, '"0"', "0 or 1"), (flag, "null", "0 or 1"), (flag, "1e308", "0 or 1"),
        (nonblank, '" "', "a name"), (nonblank, "3", "a name"), (items, '"cat"', "a list"), (items, "{}", "a list"),
    ],
)  # fmt: skip
def test_what_a_kind_refuses(kind, text: str, wanted: str) -> None:
    with pytest.raises(FieldError, match=f"^'key' is .*, not {wanted}: correct it$") as error:
        field(json.loads(f'{{"key": {text}}}'), "key", kind)
    assert len(str(error.value)) < 100


def test_a_field_that_is_missing_and_a_record_that_is_none() -> None:
    assert field({}, "key", whole, 4) == 4
    with pytest.raises(FieldError, match="^'key' is missing: add it$"):
        field({}, "key", whole)
    with pytest.raises(FieldError, match="^3 is not an object with 'key': correct it$"):
        field(3, "key", whole, 4)
