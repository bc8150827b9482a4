"""What every benchmark answers with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Pair:
    """The same work twice, and how far the two answers lie apart, in words."""

    ours: Callable[[], Any]
    peer: Callable[[], Any]
    agreement: str
