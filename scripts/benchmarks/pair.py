"""A benchmark: the same work done by two implementations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class Pair:
    """Two implementations of the same work, and a description of how well their results agree."""

    ours: Callable[[], Any]
    peer: Callable[[], Any]
    agreement: str


def relative_error(ours: Tensor, theirs: Tensor) -> float:
    """Norm of the difference over the norm of ``theirs``."""
    return float((ours - theirs).norm() / theirs.norm())
