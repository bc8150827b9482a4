"""Numbers and switches are checked with their key's name, type and range."""

from __future__ import annotations

import pytest
from omegaconf import OmegaConf

from opsnet.utils.errors import InputError
from opsnet.utils.option_values import EDGE, POSITIVE, SHARE, SHARE_OR_NULL, Number, Switch, check_values


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (SHARE, 0), (SHARE, 1.0), (SHARE_OR_NULL, None), (POSITIVE, 3), (EDGE, "auto"), (EDGE, None), (EDGE, 800),
        (Switch(), True), (Switch(null=True), None), (Number(), -7.5),
    ],
)  # fmt: skip
def test_what_is_allowed(kind: Number | Switch, value: object) -> None:
    kind.check("key", value)


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        (POSITIVE, "two", "key must be a whole number of at least 1, got 'two': change `key`"),
        (POSITIVE, 1.5, "key must be a whole number of at least 1, got 1.5"),
        (POSITIVE, 0, "key must be at least 1, got 0"),
        (SHARE, "high", "key must be a number in 0..1, got 'high'"),
        (SHARE, None, "key must be a number in 0..1, got null"),
        (SHARE, float("nan"), "key must be a number in 0..1, got nan"),
        (SHARE, True, "key must be a number in 0..1, got True"),
        (SHARE, 1.01, "key must lie in 0..1, got 1.01"),
        (SHARE_OR_NULL, "yes", "key must be a number in 0..1 or null, got 'yes'"),
        (EDGE, "large", "key must be a whole number of at least 1 or auto or null, got 'large'"),
        (POSITIVE, float("inf"), "key must be a whole number"),
        (Switch(), "maybe", "key must be true or false, got 'maybe'"),
        (Switch(), 1, "key must be true or false, got 1"),
    ],
)
def test_what_is_refused(kind: Number | Switch, value: object, message: str) -> None:
    with pytest.raises(InputError) as error:
        kind.check("key", value)
    assert str(error.value).startswith(message)


def test_nested_keys_are_checked_and_absent_ones_passed_over() -> None:
    cfg = OmegaConf.create({"a": {"b": "${c}"}, "c": 2})
    check_values(cfg, {"a.b": POSITIVE, "x.y": POSITIVE})
    with pytest.raises(InputError, match=r"a\.b must lie in 0\.\.1, got 2"):
        check_values(cfg, {"a.b": SHARE})
