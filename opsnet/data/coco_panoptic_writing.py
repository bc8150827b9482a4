"""The writer of COCO's panoptic json and PNGs; :mod:`opsnet.data.coco_panoptic` reads them.

A segment may state how many pixels of its area are hidden by other segments in the PNG (``covered``, ADE20K); it may
then have no pixel there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opsnet.data.coco_panoptic import PanopticJson
from opsnet.data.panoptic_png import MAX_ID, write_ids
from opsnet.data.panoptic_records import ImageFile, ImageId, SegmentInfo, out_of_range, parse_annotation
from opsnet.data.segment_measures import Box, measure
from opsnet.utils.errors import DatasetError
from opsnet.utils.files import WriteError
from opsnet.utils.json_fields import FieldError


@dataclass(frozen=True)
class SegmentLabel:
    """The label of one segment id in an image.

    Attributes:
        id: the segment's id in the map.
        category_id: its category id in the vocabulary.
        is_crowd: whether it covers several objects.
        mask: (H, W) bool, the segment before others were painted over it; ``None``: the visible pixels of the map.
    """

    id: int
    category_id: int
    is_crowd: bool = False
    mask: NDArray[np.bool_] | None = None


def describe(ids: NDArray[Any], labels: Iterable[SegmentLabel]) -> list[dict[str, Any]]:
    """Builds the ``segments_info`` of an id map (H, W): every segment with at least one pixel, its area and its box.

    For a label with a mask, area and box are those of the mask, even if no pixel of it is visible in the map; the
    number of hidden pixels is stored as ``covered``.

    Raises:
        FieldError: a label has the id of void, or one that a PNG cannot hold.
    """
    labels = list(labels)
    if wrong := out_of_range(label.id for label in labels):
        raise FieldError(f"segment id {wrong[0]} is not in 1..{MAX_ID - 1} (0 is void): renumber the segment")
    measures = measure(ids, (label.id for label in labels))
    segments = []
    for label in labels:
        area, box, hidden = measures.areas.get(label.id, 0), measures.boxes.get(label.id), 0
        if label.mask is not None and (whole_area := int(label.mask.sum())) > area:
            area, hidden = whole_area, whole_area - area
            box = measure(label.mask.astype(np.int32), [1]).boxes[1]
        if box is not None:
            segments.append(segment_record(SegmentInfo(label.id, label.category_id, label.is_crowd, area, hidden), box))
    return segments


def segment_record(segment: SegmentInfo, box: Box) -> dict[str, Any]:
    """An entry of ``segments_info``; ``covered``, which COCO lacks, is written only if pixels are hidden."""
    return {
        "id": segment.id,
        "category_id": segment.category_id,
        "iscrowd": int(segment.is_crowd),
        "area": segment.area,
        "bbox": list(box),
        **({"covered": segment.covered} if segment.covered else {}),
    }


def image_record(image: ImageFile, height: int, width: int) -> dict[str, Any]:
    """An entry of ``images``; height and width in pixels."""
    return {"id": image.id, "file_name": image.file_name, "height": height, "width": width}


def write_annotation(
    folder: Path, image_id: ImageId, png: str, ids: NDArray[Any], segments: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Writes the PNG of one image and returns its entry of ``annotations``.

    Args:
        folder: the folder of the PNGs.
        image_id: id of the image.
        png: file name relative to the folder.
        ids: segment ids (H, W), 0 = void.
        segments: entries of ``segments_info``, as returned by :func:`describe` or :func:`segment_record`.

    Raises:
        DatasetError: ids and segments contradict each other, or could not be read back.
        WriteError: the disk is full or cannot be written.
    """
    record = {"image_id": image_id, "file_name": png, "segments_info": list(segments)}
    try:
        listed = parse_annotation(record).segments
        measures = measure(ids, (segment.id for segment in listed))
        if measures.unlisted:
            raise FieldError(f"the map holds segment id {measures.unlisted[0]}, which segments_info lacks: list it")
        for segment in listed:
            if segment.id not in measures.areas and not segment.covered:
                raise FieldError(f"the map has no pixel of segment id {segment.id}: drop it from segments_info")
        write_ids(folder / png, ids)
    except WriteError:
        raise
    except ValueError as error:
        raise DatasetError(f"{folder / png} cannot be written: {error}") from error
    return record


def content(
    path: Path,
    images: Sequence[Mapping[str, Any]],
    annotations: Sequence[Mapping[str, Any]],
    categories: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """The json content to write to ``path``, validated by the reader so that it can be read back.

    Raises:
        DatasetError: an entry is invalid; the message names the entry and the field.
    """
    data = {"images": list(images), "annotations": list(annotations), "categories": list(categories)}
    listing = PanopticJson(path, data=data)
    listing.images()
    listing.categories()
    for _ in listing.annotations():
        pass
    return data
