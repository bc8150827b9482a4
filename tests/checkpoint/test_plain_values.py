"""What a stored configuration may consist of."""

from __future__ import annotations

from typing import Any

import pytest

from opsnet.checkpoint.plain_values import copy_plain
from opsnet.utils.errors import CheckpointError


def test_plain_values_are_copied() -> None:
    value = {"a": [1, -2.5, True, None, "größer 大", {"b": ()}], "c": 2**53}
    copied = copy_plain(value, "mine")
    assert copied == {"a": [1, -2.5, True, None, "größer 大", {"b": []}], "c": 2**53}
    assert copied["a"] is not value["a"]


@pytest.mark.parametrize(
    "value",
    [float("nan"), float("-inf"), 2**53 + 1, -(10**5000), 1e300, "a\x1b[2J", "\ud800", "\0", "a\nb", "x" * 10_001, b"a",
     {1}, 1j, "${x}", {"a": object()}],
    ids=lambda value: str(type(value)),
)  # fmt: skip
def test_others_are_refused_in_one_short_line(value: Any) -> None:
    for config in (value, [value], {"a": {"b": value}}):
        with pytest.raises(CheckpointError, match=r"^mine: its configuration has ") as caught:
            copy_plain(config, "mine")
        assert len(str(caught.value)) < 400
        assert str(caught.value).isprintable()


def test_a_refused_list_that_contains_another_many_times_is_not_printed() -> None:
    wide: Any = [0, 0]
    for _ in range(200):
        wide = [wide, wide]
    with pytest.raises(CheckpointError, match="_x = a list of 2 values: nothing may be built there"):
        copy_plain({"_x": wide}, "mine")
