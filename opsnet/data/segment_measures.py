"""Area and bounding box of every segment of an id map, cheaper than decoding its PNG.

Works on horizontal runs of equal ids instead of single pixels: tens of thousands instead of hundreds of thousands.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Box = tuple[int, int, int, int]
"""Left, top, width and height in pixels."""


@dataclass(frozen=True)
class Measures:
    """Measurements of an id map.

    Attributes:
        areas: pixels of each listed id that occurs in the map.
        boxes: bounding box of each of these.
        unlisted: all other ids except 0, in ascending order.
        unlisted_area: total pixels of the unlisted ids.
    """

    areas: dict[int, int]
    boxes: dict[int, Box]
    unlisted: tuple[int, ...]
    unlisted_area: int


def measure(ids: NDArray[np.int32], listed: Iterable[int]) -> Measures:
    """Measures an id map (H, W), 0 = void.

    Args:
        ids: the map.
        listed: ids to measure, >= 1 and within int32.
    """
    values, lengths, corners = _runs(ids)
    known = np.array(sorted({0, *listed}), dtype=np.int32)
    rows = np.minimum(np.searchsorted(known, values), len(known) - 1)
    is_known = known[rows] == values
    areas = np.zeros(len(known), dtype=np.intp)
    np.add.at(areas, rows[is_known], lengths[is_known])
    places = np.repeat(np.array([[*ids.shape[::-1], 0, 0]]), len(known), axis=0)
    for side, reduce in enumerate((np.minimum, np.minimum, np.maximum, np.maximum)):
        reduce.at(places[:, side], rows[is_known], corners[is_known, side])
    found = [(int(known[row]), row) for row in range(1, len(known)) if areas[row]]
    return Measures(
        areas={value: int(areas[row]) for value, row in found},
        boxes={value: _box(*places[row].tolist()) for value, row in found},
        unlisted=tuple(np.unique(values[~is_known]).tolist()),
        unlisted_area=int(lengths[~is_known].sum()),
    )


def _runs(ids: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.intp], NDArray[np.intp]]:
    """Horizontal runs of equal ids: ids (R,), lengths (R,) and corners (R, 4): left, top, right, bottom (exclusive)."""
    begins = np.ones(ids.shape, dtype=bool)
    np.not_equal(ids[:, 1:], ids[:, :-1], out=begins[:, 1:])
    starts = np.flatnonzero(begins)
    lengths = np.diff(starts, append=ids.size)
    top, left = np.divmod(starts, ids.shape[1])
    return ids.ravel()[starts], lengths, np.stack([left, top, left + lengths, top + 1], axis=1)


def _box(left: int, top: int, right: int, bottom: int) -> Box:
    return left, top, right - left, bottom - top
