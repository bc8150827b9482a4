"""The outlines of a mask as polygons with holes, exact: they run along the borders of pixels, and filling them gives
the mask again."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Ring = list[list[int]]
"""A closed outline: corners [x, y] in pixels, the first repeated at the end."""

Edges = NDArray[np.int64]
"""(n, 4): the point where an edge of one pixel starts, y * (W + 1) + x; its direction; its end point; its part."""

_TURNS = (-1, 0, 1)  # left, straight, right, with directions east, south, west, north: 0 to 3


def mask_polygons(mask: NDArray[np.bool_]) -> list[list[Ring]]:
    """One polygon per 4-connected part of a mask (H, W): its exterior ring, then its holes.

    Pixel (column x, row y) is the square from (x, y) to (x + 1, y + 1). With y as the second coordinate, exteriors run
    counterclockwise and holes clockwise, as in RFC 7946. Rings do not cross or touch themselves: parts that share only
    a corner are separate polygons, and holes that share only a corner are separate rings.
    """
    parts, count = ndimage.label(mask)
    polygons: list[list[Ring]] = [[] for _ in range(count)]
    for part, ring in _rings(_edges(parts.astype(np.int64)), mask.shape[1] + 1):
        place = 0 if _area(ring) > 0 else len(polygons[part - 1])
        polygons[part - 1].insert(place, ring)
    return polygons


def _edges(parts: NDArray[np.int64]) -> Edges:
    """The edges between a part and its outside, in a part's own direction of travel: the part is on the right hand."""
    padded, stride = np.pad(parts, 1), parts.shape[1] + 1
    inner = padded[1:-1, 1:-1]
    # Neighbour of the pixel, and the offsets of the edge's start and end from the pixel's top left corner.
    sides = (
        (padded[:-2, 1:-1], 0, 1),
        (padded[1:-1, 2:], 1, stride + 1),
        (padded[2:, 1:-1], stride + 1, stride),
        (padded[1:-1, :-2], stride, 0),
    )
    found = []
    for direction, (neighbour, start, end) in enumerate(sides):
        rows, columns = np.nonzero((inner > 0) & (neighbour == 0))
        corner = rows * stride + columns
        own = inner[rows, columns]
        found.append(np.stack([corner + start, np.full_like(corner, direction), corner + end, own], axis=1))
    edges = np.concatenate(found)
    return edges[np.lexsort((edges[:, 1], edges[:, 0]))]


def _following(edges: Edges) -> NDArray[np.int64]:
    """The index of the edge that follows each edge on its ring.

    Where two pixels of a part meet at a corner only, the ring turns left, to the other pixel: the two pixels beside
    them are then on different rings.
    """
    start, direction, end, part = edges.T
    keys = start * 4 + direction
    following = np.full(len(edges), -1)
    for turn in _TURNS:
        wanted = end * 4 + (direction + turn) % 4
        place = np.searchsorted(keys, wanted).clip(max=len(edges) - 1)
        fits = (following < 0) & (keys[place] == wanted) & (part[place] == part)
        following[fits] = place[fits]
    return following


def _rings(edges: Edges, stride: int) -> Iterator[tuple[int, Ring]]:
    """Yields each ring with its part; only the corners of a ring are listed."""
    if not len(edges):
        return
    following = _following(edges)
    is_corner = (edges[following, 1] != edges[:, 1]).tolist()
    y, x = np.divmod(edges[:, 2], stride)
    corners, parts, after = np.stack([x, y], axis=1).tolist(), edges[:, 3].tolist(), following.tolist()
    seen = bytearray(len(edges))
    for first in range(len(edges)):
        ring: Ring = []
        edge = first
        while not seen[edge]:
            seen[edge] = 1
            if is_corner[edge]:
                ring.append(corners[edge])
            edge = after[edge]
        if ring:
            yield parts[first], [*ring, list(ring[0])]


def _area(ring: Ring) -> float:
    """The signed area of a ring: positive for exteriors."""
    x, y = np.asarray(ring, dtype=np.float64).T
    return float((x[:-1] * y[1:] - x[1:] * y[:-1]).sum() / 2)
