"""Paints regions that may overlap (polygons, runs or small masks) into a panoptic map.

Where regions overlap, the one in the higher layer is in front; within a layer the smaller one, the later one if they
have the same size. Crowd is behind everything. A cup on a table therefore stays visible regardless of the order of
annotation. Regions that are covered completely are dropped.
"""

from __future__ import annotations

import reprlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as runs

from opsnet.data.coco_panoptic_writing import SegmentLabel
from opsnet.data.run_lengths import checked_counts

Runs = dict[str, Any]
"""pycocotools' compressed run lengths: ``size`` (height, width) and ``counts``."""
Size = tuple[int, int]
"""Width and height in pixels."""
FARTHEST = 2.0**53  # a json number beyond it may have been rounded


@dataclass(frozen=True)
class Region:
    """A labelled part of an image.

    Attributes:
        runs: its pixels.
        category_id: of the vocabulary; None for void.
        group: regions of a thing class with the same group are one segment; None: a separate segment.
        is_crowd: several instances that are not separated.
        layer: regions with a higher one are in front.
    """

    runs: Runs
    category_id: int | None
    group: int | str | None = None
    is_crowd: bool = False
    layer: int = 0


def paint(
    regions: Sequence[Region], size: Size, *, stuff: Collection[int]
) -> tuple[NDArray[np.int64], list[SegmentLabel]]:
    """Segment ids (H, W) of an image of ``size`` (width, height), numbered in the order of the regions; 0 = void.

    The regions of a stuff class are one segment, and so is all crowd of a class, as required by COCO's format.
    """
    joined: dict[tuple[int | None, bool, int | str | None], list[Region]] = {}
    for number, region in enumerate(regions):
        instance = number if region.group is None else f"group {region.group}"
        is_one = region.is_crowd or region.category_id in stuff
        key = (region.category_id, region.is_crowd, None if is_one else instance)
        joined.setdefault(key, []).append(region)
    ids = np.zeros((size[1], size[0]), dtype=np.int64)
    labels, layers = [], []
    for number, ((category, is_crowd, *_), parts) in enumerate(joined.items(), start=1):
        whole_region = runs.merge([part.runs for part in parts])
        order = (not is_crowd, max(part.layer for part in parts), -int(runs.area(whole_region)))
        layers.append((order, 0 if category is None else number, whole_region))
        if category is not None:
            labels.append(SegmentLabel(number, category, is_crowd))
    for _, number, pixels in sorted(layers, key=lambda layer: layer[0]):
        ids[runs.decode(pixels).astype(bool)] = number
    return ids, labels


def polygons_to_runs(polygons: Sequence[Sequence[float]], size: Size) -> Runs:
    """Polygons [x, y, x, y, ...] in pixels, as one region; integer coordinates are the upper left corners of pixels.

    pycocotools walks along every edge, wherever it lies, so a coordinate far outside costs gigabytes. Polygons that
    reach farther beyond the image than its own size are clipped there, which moves no border by more than a tenth of a
    pixel (pycocotools rounds to fifths).

    Raises:
        ValueError: a polygon has fewer than three points, an odd number of values, or a coordinate beyond 2^53.
    """
    if not polygons:
        raise ValueError("it has no polygon")
    for polygon in polygons:
        if len(polygon) < 6 or len(polygon) % 2:
            raise ValueError(f"a polygon of {len(polygon)} numbers: it needs x and y for at least three points")
    arrays = [np.asarray(polygon, dtype=np.float64) for polygon in polygons]
    if not all(np.isfinite(array).all() for array in arrays):
        raise ValueError("a polygon has a coordinate that is not a number")
    if any(np.abs(array).max() > FARTHEST for array in arrays):
        raise ValueError("a polygon has a coordinate that no image reaches")
    clipped = [points for array in arrays if len(points := _clipped(array, size)) >= 6]
    if not clipped:  # all of it is far outside
        return mask_to_runs(np.zeros((size[1], size[0]), dtype=bool))
    merged: Runs = runs.merge(runs.frPyObjects(clipped, size[1], size[0]))
    return merged


def _clipped(polygon: NDArray[np.float64], size: Size) -> list[float]:
    """The polygon within the image's own size around the image (Sutherland and Hodgman 1974); most are unchanged."""
    points = polygon.reshape(-1, 2)
    for axis in (0, 1):
        for sign in (-1, 1):
            bound = float(2 * size[axis] if sign > 0 else size[axis])  # x <= 2 W, and -x <= W
            if len(points) and (sign * points[:, axis]).max() > bound:
                points = _cut(points, axis, sign, bound)
    values: list[float] = points.reshape(-1).tolist()
    return values


def _cut(points: NDArray[np.float64], axis: int, sign: int, bound: float) -> NDArray[np.float64]:
    """The part of a polygon (N, 2) with sign * coordinate <= bound."""
    kept: list[NDArray[np.float64]] = []
    for before, here in zip(np.roll(points, 1, axis=0), points, strict=True):
        first, second = sign * before[axis], sign * here[axis]
        if (first > bound) != (second > bound):
            crossing = before + (here - before) * ((bound - first) / (second - first))
            crossing[axis] = sign * bound
            kept.append(crossing)
        if second <= bound:
            kept.append(here)
    return np.asarray(kept, dtype=np.float64).reshape(-1, 2)


def ellipse_to_runs(centre: tuple[float, float], radii: tuple[float, float], degrees: float, size: Size) -> Runs:
    """Pixels whose centre lies within an ellipse; ``degrees`` turn it clockwise, as y points down.

    Raises:
        ValueError: a number is not finite, or a radius is not positive.
    """
    if not np.isfinite([*centre, *radii, degrees]).all() or min(radii) <= 0:
        raise ValueError("a circle or ellipse needs finite numbers, and radii above 0")
    rows, columns = np.ogrid[: size[1], : size[0]]
    x, y, angle = columns + 0.5 - centre[0], rows + 0.5 - centre[1], np.radians(degrees)
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    inside = (along / radii[0]) ** 2 + (across / radii[1]) ** 2 <= 1
    return mask_to_runs(inside)


def mask_to_runs(mask: NDArray[np.bool_]) -> Runs:
    """(H, W) as a region."""
    encoded: Runs = runs.encode(np.asfortranarray(mask.astype(np.uint8)))
    return encoded


def box_mask_to_runs(mask: NDArray[np.bool_], left: int, top: int, size: Size) -> Runs:
    """A mask (h, w) whose first pixel is at (left, top); the parts outside the image are dropped."""
    whole_mask = np.zeros((size[1], size[0]), dtype=bool)
    rows = slice(min(max(-top, 0), mask.shape[0]), max(size[1] - top, 0))
    columns = slice(min(max(-left, 0), mask.shape[1]), max(size[0] - left, 0))
    inside = mask[rows, columns]
    top, left = max(top, 0), max(left, 0)
    whole_mask[top : top + inside.shape[0], left : left + inside.shape[1]] = inside
    return mask_to_runs(whole_mask)


def checked_runs(value: Runs, size: Size) -> Runs:
    """Run lengths from a json, as a list or as text, in compressed form.

    Raises:
        ValueError: they do not belong to an image of ``size``.
    """
    declared = [size[1], size[0]]
    if value.get("size") != declared:
        found = reprlib.repr(value.get("size"))
        raise ValueError(f"run lengths of size {found}, but the image's height and width are {declared}")
    counts = checked_counts(value.get("counts"), (size[1], size[0]))
    packed: Runs = runs.frPyObjects({"counts": counts, "size": declared}, *declared)
    return packed
