"""Places each segment's name on an image: on its segment if it fits, else next to it, and not on another name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

_PLACES_A_SIDE = 200
"""Approximate number of positions tried along the shorter side; a finer search moves names by a pixel or two."""

# Weights of the costs of a position, each a share in 0..1 of the box or segment. Covering another name outweighs
# everything else combined; the rest was tuned visually on images of 96 x 96 and 640 x 480 pixels.
_ON_NAME = 100.0
_OFF_SEGMENT = 1.0
_ON_THING = 0.8
_HIDES_SEGMENT = 1.5
_FAR = 1.5
_MOST_HIDDEN = 0.45


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels; ``touches`` tells whether it overlaps the segment that it names."""

    left: int
    top: int
    width: int
    height: int
    touches: bool = True


def place_labels(ids: np.ndarray, sizes: Mapping[int, tuple[int, int]], things: frozenset[int]) -> dict[int, Box]:
    """Places one box per segment.

    Args:
        ids: (H, W) segment ids.
        sizes: segment id -> (width, height) in pixels of its box; segments without pixels get no box.
        things: ids of things, which the names of other segments should not hide.

    Returns:
        Segment id -> box inside the image (boxes wider or taller than the image start at its edge).
    """
    stride = max(1, min(ids.shape) // _PLACES_A_SIDE)
    coarse = ids[stride // 2 :: stride, stride // 2 :: stride]
    areas = {int(i): int(n) for i, n in zip(*np.unique(coarse, return_counts=True), strict=True)}
    taken = np.zeros(coarse.shape, dtype=bool)
    is_thing = np.isin(coarse, list(things))
    boxes: dict[int, Box] = {}
    # Small segments have the fewest good positions, so they are placed first.
    for segment in sorted((i for i in sizes if i in areas), key=lambda i: (areas[i], i)):
        width = min(-(-sizes[segment][0] // stride), coarse.shape[1])
        height = min(-(-sizes[segment][1] // stride), coarse.shape[0])
        own = coarse == segment
        cost, covered = _costs(own, taken, is_thing & ~own, width, height)
        top, left = (int(i) for i in np.unravel_index(int(cost.argmin()), cost.shape))
        taken[max(0, top - 1) : top + height + 1, max(0, left - 1) : left + width + 1] = True
        boxes[segment] = _in_pixels(ids.shape, sizes[segment], left * stride, top * stride, bool(covered[top, left]))
    return boxes


def _costs(
    own: np.ndarray, taken: np.ndarray, others: np.ndarray, width: int, height: int
) -> tuple[np.ndarray, np.ndarray]:
    """Cost of each position of a box, and the share of the box on its own segment, both (rows, columns)."""
    box = width * height
    covered = _box_sums(own, width, height) / box
    hidden = covered * box / max(1, int(own.sum()))
    on_names = _box_sums(taken, width, height) / box
    # Any overlap with another name costs the full weight, so names overlap only if there is no free position.
    cost = _ON_NAME * ((on_names > 0) + on_names)
    cost = cost + _OFF_SEGMENT * (1 - covered) + _ON_THING * _box_sums(others, width, height) / box
    cost = cost + _HIDES_SEGMENT * np.maximum(0, hidden - _MOST_HIDDEN)
    rows, columns = np.nonzero(own)
    down = np.arange(cost.shape[0])[:, None] + height / 2 - rows.mean()
    across = np.arange(cost.shape[1])[None, :] + width / 2 - columns.mean()
    return cost + _FAR * np.hypot(down, across) / np.hypot(*own.shape), covered


def _box_sums(mask: np.ndarray, width: int, height: int) -> np.ndarray:
    """Number of pixels of ``mask`` under a box at each position, with a summed-area table."""
    table: np.ndarray = np.pad(mask, ((1, 0), (1, 0))).cumsum(0, dtype=np.int64).cumsum(1)
    sums: np.ndarray = (
        table[height:, width:] - table[:-height, width:] - table[height:, :-width] + table[:-height, :-width]
    )
    return sums


def _in_pixels(shape: tuple[int, ...], size: tuple[int, int], left: int, top: int, touches: bool) -> Box:
    width, height = size
    return Box(max(0, min(left, shape[1] - width)), max(0, min(top, shape[0] - height)), width, height, touches)
