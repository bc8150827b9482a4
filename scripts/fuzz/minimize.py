"""Makes a case that fails smaller, as long as it fails in the same way."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from scripts.fuzz.cases import Case

TRIES = 60


def minimized(case: Case, fails: Callable[[Case], bool]) -> Case:
    """The smallest case that was found by leaving files, parts of json, and parts of bytes out.

    Args:
        case: one that fails.
        fails: whether a smaller one fails in the same way; called at most :data:`TRIES` times.
    """
    left = TRIES
    is_smaller = True
    while is_smaller and left > 0:
        is_smaller = False
        for smaller in _smaller(case):
            left -= 1
            if left < 0:
                break
            if fails(smaller):
                case, is_smaller = smaller, True
                break
    return case


def _smaller(case: Case) -> Iterator[Case]:
    for name in case.files:
        yield replace(case, files={n: content for n, content in case.files.items() if n != name})
    for name, content in case.files.items():
        for shorter in _shorter(content):
            yield replace(case, files={**case.files, name: shorter})


def _shorter(content: bytes) -> Iterator[bytes]:
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        yield from _cut(content)
        return
    for path in _paths(value):
        smaller = copy.deepcopy(value)
        owner = smaller
        for key in path[:-1]:
            owner = owner[key]
        del owner[path[-1]]
        yield json.dumps(smaller).encode("utf-8", "surrogatepass")


def _cut(content: bytes) -> Iterator[bytes]:
    """Without a half, a quarter, ... of the bytes."""
    size = len(content) // 2
    while size:
        for place in range(0, len(content), size):
            yield content[:place] + content[place + size :]
        size //= 4


def _paths(value: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths of all parts, the largest first."""
    if len(above) > 12 or not isinstance(value, (dict, list)):
        return
    keys = list(value) if isinstance(value, dict) else range(len(value))
    for key in keys:
        yield (*above, key)
    for key in keys:
        yield from _paths(value[key], (*above, key))
