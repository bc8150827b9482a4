"""Numbers and switches that users set, checked where a command's options are made: type, range, and the key's name."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from opsnet.utils.errors import InputError


@dataclass(frozen=True)
class Number:
    """What a number may be.

    Attributes:
        low, high: its range, both included.
        whole: whether it has no fraction.
        null: whether it may be left to a default.
        words: texts that are allowed in its place, such as auto.
    """

    low: float = -math.inf
    high: float = math.inf
    whole: bool = False
    null: bool = False
    words: tuple[str, ...] = ()

    def check(self, key: str, value: Any) -> None:
        """Checks a value.

        Raises:
            InputError: its type or range is wrong; the message states the key, both, and the value.
        """
        if (value is None and self.null) or value in self.words:
            return
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and value == value  # not nan
        if not is_number or (self.whole and isinstance(value, float) and not value.is_integer()):
            raise InputError(f"{key} must be {self.kind()}, got {_shown(value)}: change `{key}`")
        if not self.low <= value <= self.high:
            raise InputError(f"{key} must {self.range()}, got {value}: change `{key}`")

    def kind(self) -> str:
        """The expected type and range in words."""
        bounds = "" if self.low == -math.inf else f" of at least {self.low:g}"
        bounds = bounds if self.high == math.inf else f" in {self.low:g}..{self.high:g}"
        others = [*self.words, *(["null"] if self.null else [])]
        return f"a {'whole ' if self.whole else ''}number{bounds}" + "".join(f" or {other}" for other in others)

    def range(self) -> str:
        """The expected range in words."""
        return f"be at least {self.low:g}" if self.high == math.inf else f"lie in {self.low:g}..{self.high:g}"


@dataclass(frozen=True)
class Switch:
    """A key that is true or false.

    Attributes:
        null: whether it may be left to a default.
    """

    null: bool = False

    def check(self, key: str, value: Any) -> None:
        """Checks a value.

        Raises:
            InputError: it is neither true nor false.
        """
        if not (isinstance(value, bool) or (value is None and self.null)):
            raise InputError(f"{key} must be true or false, got {_shown(value)}: change `{key}`")


SHARE = Number(0, 1)
SHARE_OR_NULL = Number(0, 1, null=True)
POSITIVE = Number(1, whole=True)
POSITIVE_OR_NULL = Number(1, whole=True, null=True)
COUNT = Number(0, whole=True)
EDGE = Number(1, whole=True, null=True, words=("auto",))
"""Pixels of an image's edge."""
INFERENCE: dict[str, Number | Switch] = {
    "modulation.alpha": Number(0, 1000, null=True),
    "modulation.beta": Number(0, 10, null=True),
    "modulation.clip_weight": Number(0, 1000, null=True),
    "filtering.threshold": SHARE_OR_NULL,
    "filtering.drop_no_object": Switch(null=True),
    "overlap": SHARE_OR_NULL,
}
"""Recognizer and filter, in every command that has these groups."""

_MISSING = object()


def check_values(cfg: Any, allowed: Mapping[str, Number | Switch]) -> None:
    """Checks the values of a configuration; keys that it does not have are passed over.

    Args:
        cfg: the configuration.
        allowed: what each key, with dots between its parts, may be.

    Raises:
        InputError: a value is not allowed; the message states its key.
    """
    from omegaconf import OmegaConf

    for key, kind in allowed.items():
        value = OmegaConf.select(cfg, key, default=_MISSING)
        if value is not _MISSING:
            kind.check(key, value)


def _shown(value: Any) -> str:
    return f"'{value}'" if isinstance(value, str) else "null" if value is None else str(value)
