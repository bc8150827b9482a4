"""Paints regions that may overlap (polygons, runs or small masks) into a panoptic map.

Where regions overlap, the smaller one is in front, the later one if they have the same size, and crowd is behind
everything. A cup on a table therefore stays visible regardless of the order of annotation. Regions that are covered
completely are dropped.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as runs

from opsnet.data.coco_panoptic import SegmentLabel

Runs = dict[str, Any]
"""pycocotools' compressed run lengths: ``size`` (height, width) and ``counts``."""


@dataclass(frozen=True)
class Region:
    """A labelled part of an image.

    Attributes:
        runs: its pixels.
        category_id: of the vocabulary; None for void.
        group: regions of a thing class with the same group are one segment; None: a separate segment.
        is_crowd: several instances that are not separated.
    """

    runs: Runs
    category_id: int | None
    group: int | str | None = None
    is_crowd: bool = False


def paint(
    regions: Sequence[Region], size: tuple[int, int], *, stuff: Collection[int]
) -> tuple[NDArray[np.int64], list[SegmentLabel]]:
    """Segment ids (H, W) of an image of ``size`` (width, height), numbered in the order of the regions; 0 = void.

    The regions of a stuff class are one segment, as required by COCO's format.
    """
    joined: dict[tuple[int | None, bool, int | str | None], list[Runs]] = {}
    for number, region in enumerate(regions):
        instance = number if region.group is None else f"group {region.group}"
        key = (region.category_id, region.is_crowd, None if region.category_id in stuff else instance)
        joined.setdefault(key, []).append(region.runs)
    ids = np.zeros((size[1], size[0]), dtype=np.int64)
    labels, layers = [], []
    for number, ((category, is_crowd, *_), parts) in enumerate(joined.items(), start=1):
        whole = runs.merge(parts)
        layers.append((not is_crowd, -int(runs.area(whole)), 0 if category is None else number, whole))
        if category is not None:
            labels.append(SegmentLabel(number, category, is_crowd))
    for *_, number, whole in sorted(layers, key=lambda layer: layer[:2]):
        ids[runs.decode(whole).astype(bool)] = number
    return ids, labels


def polygons_to_runs(polygons: Sequence[Sequence[float]], size: tuple[int, int]) -> Runs:
    """Polygons [x, y, x, y, ...] in pixels, as one region; integer coordinates are the upper left corners of pixels.

    Raises:
        ValueError: a polygon has fewer than three points, or an odd number of values.
    """
    if not polygons:
        raise ValueError("it has no polygon")
    for polygon in polygons:
        if len(polygon) < 6 or len(polygon) % 2:
            raise ValueError(f"a polygon of {len(polygon)} numbers: it needs x and y for at least three points")
    numbers = np.asarray([v for polygon in polygons for v in polygon], dtype=np.float64)
    if not np.isfinite(numbers).all():
        raise ValueError("a polygon has a coordinate that is not a number")
    merged: Runs = runs.merge(runs.frPyObjects([[float(v) for v in p] for p in polygons], size[1], size[0]))
    return merged


def mask_to_runs(mask: NDArray[np.bool_]) -> Runs:
    """(H, W) as a region."""
    encoded: Runs = runs.encode(np.asfortranarray(mask.astype(np.uint8)))
    return encoded


def checked_runs(value: Runs, size: tuple[int, int]) -> Runs:
    """Run lengths from a json, as a list or as text, in compressed form.

    Raises:
        ValueError: they do not belong to an image of ``size``.
    """
    counts, declared = value.get("counts"), [int(v) for v in value.get("size", ())]
    if declared != [size[1], size[0]]:
        raise ValueError(f"run lengths of size {declared}, but the image's height and width are {[size[1], size[0]]}")
    if isinstance(counts, list):
        if min(counts, default=-1) < 0 or sum(counts) != size[0] * size[1]:
            raise ValueError("run lengths that do not add up to the image")
        packed: Runs = runs.frPyObjects({"counts": counts, "size": declared}, *declared)
        return packed
    if not isinstance(counts, str):
        raise ValueError("run lengths without `counts`")
    packed = {"counts": counts.encode(), "size": declared}
    pixels = runs.decode(packed)
    if pixels.max(initial=0) > 1 or pixels.sum() != runs.area(
        packed
    ):  # with too few runs, the remaining pixels are arbitrary
        raise ValueError("run lengths that do not add up to the image")
    return packed
