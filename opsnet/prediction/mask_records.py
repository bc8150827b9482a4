"""One given mask: its pixels, id and score, from any of the forms in which other programs write masks.

The pixels are an array, run lengths (COCO's, as text or numbers) or polygons (COCO's, in pixels). Sizes are checked
before anything is decoded.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as run_lengths

from opsnet.data.run_lengths import checked_counts
from opsnet.prediction.carriers import MaskId
from opsnet.preparation.own_regions import polygons_to_runs

Mask = NDArray[np.bool_]
Size = tuple[int, int]

SCORES = ("predicted_iou", "score")
"""Keys of a mask's score: SAM's, and that of COCO's results."""
MAX_OUTLINE = 2**20
"""Longest outline of a polygon in pixels: drawing it takes memory in proportion."""


class MaskError(ValueError):
    """A mask is invalid; the message continues after its place."""


def mask_of(segmentation: Any, size: Size) -> Mask:
    """The pixels (H, W) of a mask.

    Args:
        segmentation: an array or nested lists (H, W) of 0 and 1, run lengths, or polygons.
        size: (height, width) in pixels of the image.

    Raises:
        MaskError: it has another size or form.
    """
    if isinstance(segmentation, Mapping):
        return _from_runs(segmentation, size)
    if isinstance(segmentation, (list, tuple)) and not _is_grid(segmentation):
        return _from_polygons(segmentation, size)
    if segmentation is None:
        raise MaskError("has no segmentation: add an array, run lengths or polygons")
    return binary(as_array(segmentation), size)


def as_array(value: Any) -> NDArray[Any]:
    """A tensor, array or nested lists as an array of numbers.

    Raises:
        MaskError: it is none.
    """
    try:
        array = np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)
    except (TypeError, ValueError) as error:
        raise MaskError(f"is no array ({error}): give arrays of one size") from error
    if array.dtype.kind not in "biuf":
        raise MaskError(f"is an array of {array.dtype}, not of numbers: give masks as bool")
    return array


def binary(array: NDArray[Any], size: Size) -> Mask:
    """An array (..., H, W) of 0 and 1 as bool.

    Raises:
        MaskError: it has other values, or another size.
    """
    require_size(array.shape[-2:], size)
    if array.dtype == np.bool_:
        return array
    if not np.isin(array, (0, 1)).all():
        raise MaskError("has values besides 0 and 1: give masks as bool, for probabilities masks > 0.5")
    return array.astype(np.bool_)


def require_size(found: Sequence[int], size: Size) -> None:
    """Checks the size (height, width) of a mask.

    Raises:
        MaskError: it is not that of the image.
    """
    if tuple(found) != size:
        shown = f"{found[1]} x {found[0]} pixels" if len(found) == 2 else f"of shape {tuple(found)}"
        raise MaskError(
            f"is {shown}, but the image is {size[1]} x {size[0]} (width x height): give masks at the size of the image"
        )


def record_id(record: Mapping[str, Any]) -> MaskId | None:
    """The id of a record; ``None`` if it has none.

    Raises:
        MaskError: it is neither a whole number nor text.
    """
    value = record.get("id")
    if value is not None and (isinstance(value, bool) or not isinstance(value, (int, str, np.integer))):
        raise MaskError(f"has the id {value!r:.40}: give a whole number or text")
    return int(value) if isinstance(value, np.integer) else value


def record_score(record: Mapping[str, Any]) -> float:
    """The score of a record, 1 if it has none; see :func:`checked_score`."""
    return checked_score(next((record[key] for key in SCORES if record.get(key) is not None), 1.0))


def checked_score(value: Any) -> float:
    """A score in 0..1. SAM predicts an IoU of slightly more than 1 at times, which is 1.

    Raises:
        MaskError: it is not a number from 0 to 1.5.
    """
    try:
        score = float(value)
    except (TypeError, ValueError, OverflowError):
        score = math.nan
    if not 0 <= score <= 1.5:
        raise MaskError(f"has the score {value!r:.40}: give a number in 0..1")
    return min(score, 1.0)


def _is_grid(value: Sequence[Any]) -> bool:
    """Whether nested lists are rows of pixels: json has an array as rows of true and false, or of 0 and 1."""
    first = value[0] if len(value) else None
    if hasattr(first, "shape"):
        return True
    return isinstance(first, (list, tuple)) and len(first) > 0 and all(type(v) is bool or v in (0, 1) for v in first)


def _from_runs(runs: Mapping[str, Any], size: Size) -> Mask:
    counts, declared = runs.get("counts"), runs.get("size")
    if not (isinstance(declared, (list, tuple)) and len(declared) == 2):
        raise MaskError("has run lengths without `size`, the height and width: add it")
    require_size(declared, size)
    try:
        counts = checked_counts(counts, size)
    except ValueError as error:
        raise MaskError(f"has {error}: correct it") from None
    values = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
    return values.reshape(size[1], size[0]).T


def _from_polygons(polygons: Sequence[Any], size: Size) -> Mask:
    parts = [polygons] if polygons and isinstance(polygons[0], (int, float)) else polygons
    try:
        points = [np.asarray(part, dtype=np.float64).reshape(-1, 2) for part in parts]
    except (TypeError, ValueError, OverflowError) as error:
        raise MaskError(f"has polygons that are not lists of x, y, x, y, ... ({error}): correct them") from error
    outline = sum(float(np.abs(p - np.roll(p, 1, axis=0)).max(1).sum()) for p in points if len(p))
    if not outline <= MAX_OUTLINE:
        raise MaskError(
            f"has polygons with an outline of {outline:.3g} pixels: correct the coordinates, which are pixels"
        )
    try:
        runs = polygons_to_runs([p.flatten().tolist() for p in points], (size[1], size[0]))
    except ValueError as error:
        raise MaskError(f"has a polygon that cannot be drawn ({error}): correct it") from error
    mask: Mask = run_lengths.decode(runs).astype(np.bool_)
    return mask
