"""What a benchmark compares: the same work by two sides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class Pair:
    """The same work twice, and how far apart the two results are, in words."""

    ours: Callable[[], Any]
    peer: Callable[[], Any]
    agreement: str


def relative_error(ours: Tensor, theirs: Tensor) -> float:
    """Norm of the difference over the norm of ``theirs``."""
    return float((ours - theirs).norm() / theirs.norm())
