"""Masks that a user gives instead of the network's proposals: from memory, or from a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from opsnet.prediction.carriers import MaskId
from opsnet.prediction.detections import detection_records, is_detections
from opsnet.prediction.mask_records import (
    Mask,
    MaskError,
    Size,
    as_array,
    binary,
    checked_score,
    mask_of,
    record_id,
    record_score,
    require_size,
)
from opsnet.utils.errors import InputError

MasksLike: TypeAlias = Any
"""Masks (n, H, W) or (H, W) as bool or 0 and 1; a map of ids (H, W) of integers; a list of masks (H, W) or of SAM's or
COCO's records; detections of supervision; or the path of a file, see :mod:`opsnet.prediction.mask_files`."""

MAX_MASKS = 16_383
"""Most masks of an image that the merge can tell apart."""
MAX_PIXELS = 2**32
"""Most pixels of all masks of an image together, a byte each."""


@dataclass(frozen=True)
class GivenMasks:
    """Masks of one image.

    Attributes:
        masks: (n, H, W) bool; they may overlap or be empty.
        ids: n ids, all different.
        scores: (n,) in 0..1; 1 where none is given.
    """

    masks: NDArray[np.bool_]
    ids: tuple[MaskId, ...]
    scores: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.ids)


def from_memory(masks: MasksLike, size: Size, *, scores: Sequence[float] | None = None) -> GivenMasks:
    """Masks in any of the forms of :data:`MasksLike` except a path.

    Args:
        masks: the masks.
        size: (height, width) in pixels of the image.
        scores: n scores in 0..1, which replace those of records.

    Raises:
        InputError: a mask is invalid or has another size, or there are too many; the message says which one.
    """
    if isinstance(masks, Mapping) and "masks" in masks:  # transformers' pipeline
        masks, scores = masks["masks"], masks.get("scores") if scores is None else scores
    try:
        if is_detections(masks):
            masks = detection_records(masks)
        is_records = isinstance(masks, (list, tuple)) and len(masks) > 0 and isinstance(masks[0], Mapping)
        if is_records:
            found = from_records(masks, size)
        elif isinstance(masks, (list, tuple)):
            found = from_records([{"segmentation": as_array(mask)} for mask in masks], size)
        else:
            found = _from_array(as_array(masks), size)
        return with_scores(found, scores)
    except MaskError as error:
        raise InputError(f"masks: what is given {error}") from error


def from_records(records: Sequence[Any], size: Size, *, source: str = "masks") -> GivenMasks:
    """SAM's or COCO's records: ``segmentation``, and optionally ``id`` and ``predicted_iou`` or ``score``.

    Without ids for all, the ids are the positions in the list.

    Args:
        records: of one image.
        size: (height, width) in pixels of the image.
        source: where they are from, for messages.

    Raises:
        InputError: a record is invalid, two have one id, or there are too many.
    """
    require_few(len(records), size, source)
    _require_one_image(records, source)
    masks: NDArray[np.bool_] = np.zeros((len(records), *size), np.bool_)
    ids: list[MaskId | None] = []
    scores: list[float] = []
    for number, record in enumerate(records):
        try:
            if not isinstance(record, Mapping):
                raise MaskError(f"is {record!r:.40}, not an object with `segmentation`: correct it")
            masks[number] = mask_of(record.get("segmentation"), size)
            ids.append(record_id(record))
            scores.append(record_score(record))
        except MaskError as error:
            raise InputError(f"{source}: mask {number} {error}") from error
    kept = tuple(range(len(records))) if None in ids else tuple(i for i in ids if i is not None)
    if len(set(kept)) < len(kept):
        twice = next(i for n, i in enumerate(kept) if i in kept[:n])
        raise InputError(f"{source}: the id {twice} occurs twice: give each mask its own id, or none an id")
    return GivenMasks(masks, kept, np.array(scores, np.float32))


def _require_one_image(records: Sequence[Any], source: str) -> None:
    found = {repr(r["image_id"]): r["image_id"] for r in records if isinstance(r, Mapping) and "image_id" in r}
    if len(found) > 1:
        first, second = list(found.values())[:2]
        raise InputError(f"{source}: masks of several images (image_id {first}, {second}): give those of this image")


def from_id_map(ids: NDArray[Any], size: Size, *, source: str = "masks") -> GivenMasks:
    """A map (H, W) of integers: each value but 0 is a mask, and its id.

    Raises:
        InputError: it has another size, a negative id, or too many different ones, as a photograph has.
    """
    try:
        require_size(ids.shape, size)
    except MaskError as error:
        raise InputError(f"{source}: the map {error}") from error
    values = np.unique(ids)
    values = values[values != 0]
    if values.size and values[0] < 0:
        raise InputError(f"{source}: the map has the id {values[0]}: give ids from 1, and 0 for void")
    require_few(len(values), size, source, "different values; is it a photograph?")
    kept = tuple(int(v) for v in values)
    masks: Mask = np.zeros((len(kept), *size), np.bool_)
    for mask, value in zip(masks, values, strict=True):
        np.equal(ids, value, out=mask)
    return GivenMasks(masks, kept, np.ones(len(kept), np.float32))


def require_few(count: int, size: Size, source: str, what: str = "masks") -> None:
    """Checks that the masks of an image fit into memory.

    Raises:
        InputError: they do not.
    """
    if count > MAX_MASKS or count * size[0] * size[1] > MAX_PIXELS:
        most = min(MAX_MASKS, MAX_PIXELS // (size[0] * size[1]))
        raise InputError(
            f"{source}: {count} {what}; for an image of {size[1]} x {size[0]} pixels at most {most} masks are read: "
            "give fewer, or a smaller image with smaller masks"
        )


def _from_array(array: NDArray[Any], size: Size) -> GivenMasks:
    if array.ndim == 2 and array.dtype.kind in "iu" and array.max(initial=0) > 1:
        return from_id_map(array, size)
    if array.ndim == 4 and array.shape[1] == 1:  # (n, 1, H, W) of SAM's predictor for boxes
        array = array[:, 0]
    array = array[None] if array.ndim == 2 else array
    if array.ndim != 3:
        raise MaskError(f"is of shape {array.shape}: give (n, H, W), or ids (H, W)")
    require_few(len(array), size, "masks")
    return GivenMasks(binary(array, size), tuple(range(len(array))), np.ones(len(array), np.float32))


def with_scores(given: GivenMasks, scores: Sequence[float] | None) -> GivenMasks:
    """The masks with other scores; ``None``: with their own.

    Raises:
        InputError: there are not as many as masks, or one is not in 0..1.
    """
    if scores is None:
        return given
    values = as_array(scores).flatten()
    if len(values) != len(given):
        raise InputError(f"scores: {len(values)} for {len(given)} masks: give one for each mask")
    try:
        checked = [checked_score(value) for value in values.tolist()]
    except MaskError as error:
        raise InputError(f"scores: a mask {error}") from error
    return replace(given, scores=np.array(checked, np.float32))
