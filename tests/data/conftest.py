"""Panoptic sets for the tests of data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_sets import TinySet, write_set

# Void, a crowd, ids with gaps, out of order, and beyond one and two bytes.
FIRST = np.array(
    [
        [0, 10, 10, 300, 300, 300],
        [0, 10, 10, 300, 300, 300],
        [70000, 70000, 70000, 70000, 70000, 70000],
        [70000, 70000, 5, 5, 5, 5],
    ]
)


@pytest.fixture
def tiny(tmp_path: Path) -> TinySet:
    """Three images of different sizes."""
    halves = np.repeat([[1], [2]], [2, 3], axis=0).repeat(3, axis=1)
    images = [
        (FIRST, [(300, 9, 0), (10, 3, 0), (70000, 5, 0), (5, 3, 1)]),
        (halves, [(1, 3, 0), (2, 5, 0)]),
        (np.zeros((4, 4), int), []),
    ]
    return write_set(tmp_path / "tiny", images)


@pytest.fixture
def ten(tmp_path: Path) -> TinySet:
    """Ten images of 8 x 8: a cat on the left half, grass on the right one."""
    ids = np.repeat([[1] * 4 + [2] * 4], 8, axis=0)
    return write_set(tmp_path / "ten", [(ids, [(1, 3, 0), (2, 5, 0)])] * 10)
