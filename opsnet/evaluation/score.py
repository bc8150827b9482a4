"""Panoptic quality of COCO panoptic predictions on disk, computed as by panopticapi, without importing torch."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import track

from opsnet.data.coco_panoptic import PanopticJson
from opsnet.data.panoptic_png import read_ids
from opsnet.data.panoptic_records import Annotation, Category, SegmentInfo
from opsnet.metrics.panoptic_arithmetic import (
    AbsentSegmentError,
    SegmentError,
    SegmentTable,
    Side,
    UnlistedSegmentError,
    count_segments,
    overlap_table,
)
from opsnet.metrics.panoptic_averages import IntArray, PanopticCounts, PanopticScores, Quality, summarise
from opsnet.utils.errors import DatasetError

logger = logging.getLogger(__name__)

MAX_PAIRS = 2**25
"""Maximum number of (ground-truth, predicted) segment pairs per image, each a table cell; COCO has about 10^4."""


@dataclass(frozen=True)
class Score:
    """The result of :func:`score`.

    Attributes:
        result: PQ, SQ and RQ in percent; ``per_class`` in the order of ``categories``.
        categories: categories of the ground truth.
        images: number of scored images.
    """

    result: PanopticScores
    categories: tuple[Category, ...]
    images: int

    def as_dict(self) -> dict[str, Any]:
        """Plain values: ``PQ``, ``PQth``, ``PQst``, ``SQ``, ``RQ``, ``images``, the three groups, and each class."""
        groups = {name.lower(): dataclasses.asdict(group) for name, group in self.groups()}
        per_class = [
            {"id": category.id, "name": category.name, **dataclasses.asdict(quality)}
            for category, quality in zip(self.categories, self.result.per_class)
        ]
        return {**self.result.as_dict(), "images": self.images, **groups, "per_class": per_class}

    def groups(self) -> tuple[tuple[str, Quality], ...]:
        """The three averages with their names, as panopticapi prints them."""
        return ("All", self.result.all), ("Things", self.result.things), ("Stuff", self.result.stuff)


def score(
    gt_json: str | Path,
    pred_json: str | Path,
    gt_dir: str | Path | None = None,
    pred_dir: str | Path | None = None,
    progress: bool = False,
) -> Score:
    """Panoptic quality of predictions against ground truth, both in COCO's panoptic format.

    Images that only the prediction has are ignored, as in panopticapi. Where both files have ``images``, an id must be
    that of the same file in both.

    Args:
        gt_json: ``categories`` and ``annotations`` of the ground truth.
        pred_json: ``annotations`` of the prediction.
        gt_dir: folder of the ground truth's PNGs; ``None``: the json's path without ``.json``.
        pred_dir: folder of the prediction's PNGs, likewise.
        progress: show a progress bar on stderr.

    Raises:
        DatasetError: a file is missing or malformed, or files contradict each other.
    """
    truth_json, prediction_json = PanopticJson(Path(gt_json)), PanopticJson(Path(pred_json), predicted=True)
    categories = truth_json.categories()
    _require_same_names(truth_json, prediction_json)
    _compare_categories(categories, prediction_json)
    truths = _by_image(truth_json, gt_dir, categories)
    predictions = _by_image(prediction_json, pred_dir, categories)
    if not truths:
        raise DatasetError(f"{gt_json} has no annotations: give a ground truth with at least one image")
    for image_id in truths:
        if image_id not in predictions:
            raise DatasetError(
                f"{pred_json} has no annotation for image {image_id} of {gt_json}: predict that image too, or give "
                "opsnet-predict ids_from=GT.json if the images are numbered in another way"
            )
    images: Iterable[_Image] = truths.values()
    if progress:
        images = track(list(images), "scoring", console=Console(stderr=True))
    counts, wrong_areas = PanopticCounts.zeros(len(categories)), list[str]()
    for truth in images:
        counts += _score_image(truth, predictions[truth.image_id], len(categories), wrong_areas)
    if wrong_areas:
        logger.warning(
            "%d segment areas in the ground truth's json differ from its PNGs; the json is used, as in panopticapi: %s",
            *(len(wrong_areas), wrong_areas[0]),
        )
    return Score(summarise(counts, [category.is_thing for category in categories]), categories, len(truths))


def _require_same_names(truth: PanopticJson, prediction: PanopticJson) -> None:
    """Checks that no image id belongs to different files, if both files have valid ``images``; suffixes may differ.

    Raises:
        DatasetError: one does.
    """
    theirs, ours = _stems(truth), _stems(prediction)
    for image_id in ours.keys() & theirs.keys():
        if ours[image_id] != theirs[image_id]:
            raise DatasetError(
                f"image {image_id} is {ours[image_id]} in {prediction.path}, but {theirs[image_id]} in {truth.path}: "
                f"predict with the ids of the ground truth (opsnet-predict ids_from={truth.path}), or remove `images` "
                "from the prediction if the ids are right"
            )


def _compare_categories(categories: Sequence[Category], prediction: PanopticJson) -> None:
    """Warns of ids whose names differ; they may be other names of the same classes, such as synonyms."""
    try:
        theirs = {c.id: c.name for c in prediction.categories()} if "categories" in prediction else {}
    except DatasetError:  # panopticapi does not read this list
        return
    others = [(c, theirs[c.id]) for c in categories if c.id in theirs and theirs[c.id].casefold() != c.name.casefold()]
    if others:
        first, name = others[0]
        logger.warning(
            "%d categories have other names in %s, the first is %d: '%s' for '%s'. Classes are compared by id: if "
            "these are other classes, predict with the categories of the ground truth (vocabulary=GT.json)",
            *(len(others), prediction.path, first.id, name, first.name),
        )


def _stems(listing: PanopticJson) -> dict[int | str, str]:
    """File names by image id, without folders and suffix; none if ``images`` is missing or invalid."""
    try:
        names = listing.images() if "images" in listing else {}
    except DatasetError:  # panopticapi does not read this list
        return {}
    return {image_id: PurePosixPath(name.replace("\\", "/")).stem for image_id, name in names.items()}


@dataclass(frozen=True)
class _Image:
    """One image's annotation: its json, its PNG, and its segments, whose labels index the categories."""

    image_id: int | str
    listing: Path
    png: Path
    segments: SegmentTable


def _by_image(
    listing: PanopticJson, folder: str | Path | None, categories: Sequence[Category]
) -> dict[int | str, _Image]:
    """The annotations by image id, in the json's order; PNGs are not opened.

    Args:
        listing: the json.
        folder: folder of its PNGs; ``None``: the json's path without ``.json``.
        categories: categories of the ground truth.

    Raises:
        DatasetError: the folder is missing, an annotation is invalid, or its category is unknown.
    """
    folder = listing.path.with_suffix("") if folder is None else Path(folder)
    if not folder.is_dir():
        option = "--pred-dir" if listing.predicted else "--gt-dir"
        raise DatasetError(f"the folder {folder} with the PNGs of {listing.path} does not exist: give it by {option}")
    label_of = {category.id: label for label, category in enumerate(categories)}
    images: dict[int | str, _Image] = {}
    for annotation in listing.annotations():
        image_id = annotation.image_id
        if image_id in images:
            logger.warning(
                "%s predicts image %s twice: the last prediction is scored, as in panopticapi", listing.path, image_id
            )
        table = _table(listing, annotation, label_of)
        images[image_id] = _Image(image_id, listing.path, folder / annotation.file_name, table)
    return images


def _table(listing: PanopticJson, annotation: Annotation, label_of: Mapping[int, int]) -> SegmentTable:
    segments = annotation.segments
    for segment in segments:
        if segment.category_id not in label_of:
            raise DatasetError(
                f"{listing.path}: image {annotation.image_id}, segment {segment.id} has unknown category_id "
                f"{segment.category_id}: use an id of the ground truth's categories"
            )
    side: Side = "prediction" if listing.predicted else "truth"
    rows = [(s.id, label_of[s.category_id], s.is_crowd, s.covered) for s in segments]
    ids, labels, crowd, covered = np.array(rows, dtype=np.int64).reshape(-1, 4).T
    return SegmentTable(side, ids, labels, crowd == 1, _areas(segments), covered)


def _areas(segments: Sequence[SegmentInfo]) -> npt.NDArray[Any] | None:
    """Areas (S,) of the json, or ``None`` if one is missing."""
    areas = [segment.area for segment in segments]
    return None if None in areas else np.array(areas)


def _score_image(truth: _Image, prediction: _Image, num_classes: int, wrong_areas: list[str]) -> PanopticCounts:
    """Counts of one image; adds to ``wrong_areas`` if the ground truth's json and PNG differ in a segment's area."""
    truth_ids, prediction_ids = read_ids(truth.png), read_ids(prediction.png)
    if truth_ids.shape != prediction_ids.shape:
        sizes = ["{1} x {0} pixels".format(*ids.shape) for ids in (prediction_ids, truth_ids)]
        raise DatasetError(
            f"{prediction.png} is {sizes[0]} but {truth.png} is {sizes[1]} (image {truth.image_id}): "
            "write predictions at the size of the original image"
        )
    counts = [len(side.segments.ids) for side in (truth, prediction)]
    if (1 + counts[0]) * (1 + counts[1]) > MAX_PAIRS:
        raise DatasetError(
            f"image {truth.image_id} has {counts[0]:,} ground-truth and {counts[1]:,} predicted segments, more pairs "
            f"than fit into memory: merge or drop small segments of {prediction.png} or {truth.png}"
        )
    try:
        overlaps = overlap_table(truth_ids, prediction_ids, truth.segments, prediction.segments)
        wrong_areas += _check_areas(truth, overlaps.sum(axis=1)[1:])
        return count_segments(overlaps, truth.segments, prediction.segments, num_classes)
    except SegmentError as error:
        raise DatasetError(_explain(error, truth if error.side == "truth" else prediction)) from error


def _check_areas(truth: _Image, pixels: IntArray) -> list[str]:
    """Descriptions of the ground-truth segments whose json area differs from their number of pixels.

    Pixels that the json lists as covered count as present.

    Raises:
        AbsentSegmentError: a segment has no pixels.
        DatasetError: an area is less than half of the pixels, which rounding or the area of a polygon is not.
    """
    segments = truth.segments
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


def _explain(error: SegmentError, annotation: _Image) -> str:
    segment = f"segment {error.segment_id} of image {annotation.image_id}"
    if isinstance(error, UnlistedSegmentError):
        where = f"is in {annotation.png} but not in {annotation.listing}"
        return f"{segment} {where}: list it in segments_info or paint its pixels 0 (void)"
    if isinstance(error, AbsentSegmentError):
        where = f"is in {annotation.listing} but not in {annotation.png}"
        return f"{segment} {where}: drop it from segments_info or paint its pixels"
    return f"{annotation.listing}, image {annotation.image_id}: {error}"
