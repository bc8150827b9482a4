"""Counts of one image's files: a ground truth's and a prediction's PNG, each with its segments from the json."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from opsnet.data.panoptic_png import read_colours, rgb_to_ids
from opsnet.evaluation.shared_pixels import overlap_table_of_colours
from opsnet.metrics.panoptic_arithmetic import (
    AbsentSegmentError,
    SegmentError,
    SegmentTable,
    UnlistedSegmentError,
    count_segments,
)
from opsnet.metrics.panoptic_averages import IntArray, PanopticCounts
from opsnet.utils.errors import DatasetError

MAX_PAIRS = 2**25
"""Maximum number of (ground-truth, predicted) segment pairs per image, each a table cell; COCO has about 10^4."""


class ImageFiles(NamedTuple):
    """One image's annotation and PNG.

    Attributes:
        image_id: id of the image.
        listing: the json.
        png: the PNG of segment ids.
        segments: those of the json; labels index the categories.
    """

    image_id: int | str
    listing: Path
    png: Path
    segments: SegmentTable


class PairScore(NamedTuple):
    """The result of one image.

    Attributes:
        counts: for PQ.
        wrong_areas: a description of each segment whose area differs in the ground truth's json and PNG.
        boundary: counts for Boundary PQ, if requested.
    """

    counts: PanopticCounts
    wrong_areas: list[str]
    boundary: PanopticCounts | None = None


def score_pair(truth: ImageFiles, prediction: ImageFiles, num_classes: int, *, boundary: bool = False) -> PairScore:
    """Scores one image; with ``boundary`` for Boundary PQ too.

    Raises:
        DatasetError: a PNG cannot be read, or a PNG, its json and the other PNG contradict each other.
    """
    colours = read_colours(truth.png), read_colours(prediction.png)
    if colours[0].shape != colours[1].shape:
        sizes = ["{1} x {0} pixels".format(*pixels.shape) for pixels in reversed(colours)]
        raise DatasetError(
            f"{prediction.png} is {sizes[0]} but {truth.png} is {sizes[1]} (image {truth.image_id}): "
            "write predictions at the size of the original image"
        )
    tables = truth.segments, prediction.segments
    counts = [table.ids.size for table in tables]
    if (1 + counts[0]) * (1 + counts[1]) > MAX_PAIRS:
        raise DatasetError(
            f"image {truth.image_id} has {counts[0]:,} ground-truth and {counts[1]:,} predicted segments, more pairs "
            f"than fit into memory: merge or drop small segments of {prediction.png} or {truth.png}"
        )
    try:
        overlaps = overlap_table_of_colours(*colours, *tables)
        wrong_areas = _check_areas(truth, tables[0], overlaps.sum(axis=1)[1:])
        counted = count_segments(overlaps, *tables, num_classes)
        if not boundary:
            return PairScore(counted, wrong_areas)
        from opsnet.metrics.boundary import boundary_overlaps

        limit = boundary_overlaps(rgb_to_ids(colours[0]), rgb_to_ids(colours[1]), *tables).ious()
        return PairScore(counted, wrong_areas, count_segments(overlaps, *tables, num_classes, limit))
    except SegmentError as error:
        raise DatasetError(_explain(error, truth if error.side == "truth" else prediction)) from error


def _check_areas(truth: ImageFiles, segments: SegmentTable, pixels: IntArray) -> list[str]:
    """Descriptions of the ground-truth segments whose json area differs from their number of pixels.

    Pixels that the json lists as covered count as present.

    Raises:
        AbsentSegmentError: a segment has no pixels.
        DatasetError: an area is less than half of the pixels, which rounding or the area of a polygon is not.
    """
    pixels = pixels + segments.covered
    if (pixels == 0).any():
        raise AbsentSegmentError(segments.side, int(segments.ids[pixels == 0][0]))
    if segments.areas is None:
        return []
    if (small := 2 * segments.areas < pixels).any():
        first = int(np.flatnonzero(small)[0])
        raise DatasetError(
            f"segment {segments.ids[first]} has area {segments.areas[first]} in {truth.listing}, but {pixels[first]} "
            f"pixels in {truth.png}: correct the area, which panopticapi uses: the IoU would be far above 1"
        )
    odd = segments.areas != pixels
    return [
        f"segment {segment_id} has area {area} in {truth.listing} but {count} pixels in {truth.png}"
        for segment_id, area, count in zip(segments.ids[odd], segments.areas[odd], pixels[odd])
    ]


def _explain(error: SegmentError, annotation: ImageFiles) -> str:
    segment = f"segment {error.segment_id} of image {annotation.image_id}"
    if isinstance(error, UnlistedSegmentError):
        where = f"is in {annotation.png} but not in {annotation.listing}"
        return f"{segment} {where}: list it in segments_info or paint its pixels 0 (void)"
    if isinstance(error, AbsentSegmentError):
        where = f"is in {annotation.listing} but not in {annotation.png}"
        return f"{segment} {where}: drop it from segments_info or paint its pixels"
    return f"{annotation.listing}, image {annotation.image_id}: {error}"
