"""Validation of fields in external json records, shared by all readers.

A converter such as :func:`whole` returns the value, or raises ``TypeError`` with a description of what it expects.
"""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

T = TypeVar("T")
_REQUIRED: Any = object()
_EXACT = 2**53  # a json number beyond it may have been rounded


class FieldError(ValueError):
    """A field is missing or invalid; the message names it, shows its value and says how to fix it."""


def field(record: Any, key: str, kind: Callable[[Any], T], default: T = _REQUIRED) -> T:
    """Validates and returns ``record[key]``.

    Args:
        record: a json object.
        key: key of the field.
        kind: converter that returns the value or raises ``TypeError``.
        default: value for a missing field; without a default the field is required.

    Raises:
        FieldError: the record is not an object, or the field is missing or invalid.
    """
    if type(record) is not dict and not isinstance(record, Mapping):
        raise FieldError(f"{reprlib.repr(record)} is not an object with '{key}': correct it")
    if key not in record:
        if default is _REQUIRED:
            raise FieldError(f"'{key}' is missing: add it")
        return default
    value = record[key]
    try:
        return kind(value)
    except TypeError as error:
        raise FieldError(f"'{key}' is {reprlib.repr(value)}, not {error}: correct it") from None


def whole(value: Any) -> int:
    """An integer; 3.0 is accepted, because some writers store every number as a float."""
    if (type(value) is int or (type(value) is float and value.is_integer())) and -_EXACT < value < _EXACT:
        return int(value)
    raise TypeError("a whole number")


def flag(value: Any) -> bool:
    """0 or 1, false or true."""
    if type(value) in (bool, int, float) and value in (0, 1):
        return bool(value)
    raise TypeError("0 or 1")


def nonblank(value: Any) -> str:
    """Non-blank text."""
    if isinstance(value, str) and value.strip():
        return value
    raise TypeError("a name")


def items(value: Any) -> list[Any]:
    """A list."""
    if isinstance(value, list):
        return value
    raise TypeError("a list")
