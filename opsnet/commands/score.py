"""Scores COCO panoptic predictions: ``python -m opsnet.score --gt GT.json --pred PRED.json``.

Reads the files that panopticapi reads and returns the same numbers. Files that contradict each other end in one
sentence on stderr and exit code 2. Loads neither torch nor the model.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import track
from rich.table import Table
from rich.text import Text

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
from opsnet.metrics.panoptic_averages import IntArray, PanopticCounts, PanopticResult, Quality, summarise
from opsnet.utils.errors import DatasetError, InputError

logger = logging.getLogger(__name__)

MAX_PAIRS = 2**25
"""Pairs of a true and a predicted segment in one image, each a cell of a table; COCO's images have some 10^4."""


@dataclass(frozen=True)
class Score:
    """What ``score`` returns.

    Attributes:
        result: PQ, SQ and RQ in percent; ``per_class`` in the order of ``categories``.
        categories: the ground truth's.
        images: how many were scored.
    """

    result: PanopticResult
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

    Images that only the prediction has are left out, as in panopticapi.

    Args:
        gt_json: ``categories`` and ``annotations`` of the ground truth.
        pred_json: ``annotations`` of the prediction.
        gt_dir: folder of the ground truth's PNGs; ``None`` is the json's path without ``.json``.
        pred_dir: likewise of the prediction.
        progress: shows a bar on stderr.

    Raises:
        DatasetError: a file is missing or malformed, or files contradict each other.
    """
    truth_json, prediction_json = PanopticJson(Path(gt_json)), PanopticJson(Path(pred_json), predicted=True)
    categories = truth_json.categories()
    truths = _by_image(truth_json, gt_dir, categories)
    predictions = _by_image(prediction_json, pred_dir, categories)
    if not truths:
        raise DatasetError(f"{gt_json} has no annotations: name a ground truth with at least one image")
    for image_id in truths:
        if image_id not in predictions:
            raise DatasetError(
                f"{pred_json} has no annotation for image {image_id} of {gt_json}: predict that image too"
            )
    images: Iterable[_Image] = truths.values()
    if progress:
        images = track(list(images), "scoring", console=Console(stderr=True))
    counts, wrong_areas = PanopticCounts.zeros(len(categories)), list[str]()
    for truth in images:
        counts += _score_image(truth, predictions[truth.image_id], len(categories), wrong_areas)
    if wrong_areas:
        logger.warning(
            "%d areas of the ground truth's json were used, as panopticapi does, although its PNGs differ: %s",
            *(len(wrong_areas), wrong_areas[0]),
        )
    return Score(summarise(counts, [category.is_thing for category in categories]), categories, len(truths))


@dataclass(frozen=True)
class _Image:
    """One image's entry: the json that has it, its PNG, and its segments with labels that index the categories."""

    image_id: int | str
    listing: Path
    png: Path
    segments: SegmentTable


def _by_image(
    listing: PanopticJson, folder: str | Path | None, categories: Sequence[Category]
) -> dict[int | str, _Image]:
    """The annotations by image id, in the order of the json; PNGs are not opened yet.

    Args:
        listing: the json.
        folder: where its PNGs are; ``None`` is the json's path without ``.json``.
        categories: the ground truth's.

    Raises:
        DatasetError: the folder is missing, an annotation is wrong, or its category is unknown.
    """
    folder = listing.path.with_suffix("") if folder is None else Path(folder)
    if not folder.is_dir():
        option = "--pred-dir" if listing.predicted else "--gt-dir"
        raise DatasetError(f"the folder {folder} with the PNGs of {listing.path} does not exist: name it with {option}")
    label_of = {category.id: label for label, category in enumerate(categories)}
    images: dict[int | str, _Image] = {}
    for annotation in listing.annotations():
        image_id = annotation.image_id
        if image_id in images:
            logger.warning("%s predicts image %s twice: the last is scored, as in panopticapi", listing.path, image_id)
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
    """Areas (S,) of the json, or ``None`` where one is missing."""
    areas = [segment.area for segment in segments]
    return None if None in areas else np.array(areas)


def _score_image(truth: _Image, prediction: _Image, num_classes: int, wrong_areas: list[str]) -> PanopticCounts:
    """Counts of one image; notes in ``wrong_areas`` where the truth's json and PNG differ in a segment's area."""
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
            f"image {truth.image_id} has {counts[0]:,} true and {counts[1]:,} predicted segments, more pairs than fit "
            f"into memory: merge or drop small segments of {prediction.png} or {truth.png}"
        )
    try:
        overlaps = overlap_table(truth_ids, prediction_ids, truth.segments, prediction.segments)
        wrong_areas += _check_areas(truth, overlaps.sum(axis=1)[1:])
        return count_segments(overlaps, truth.segments, prediction.segments, num_classes)
    except SegmentError as error:
        raise DatasetError(_explain(error, truth if error.side == "truth" else prediction)) from error


def _check_areas(truth: _Image, pixels: IntArray) -> list[str]:
    """The truth's segments whose json area is not their number of pixels; a segment without pixels raises.

    Pixels that the json calls covered count as there.
    """
    segments = truth.segments
    pixels = pixels + segments.covered
    if (pixels == 0).any():
        raise AbsentSegmentError(segments.side, int(segments.ids[pixels == 0][0]))
    if segments.areas is None:
        return []
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


def print_score(answer: Score, per_class: bool = False) -> None:
    """Prints the averages, and with ``per_class`` every class that occurs, as tables on stdout."""
    groups = Table(title=f"Panoptic quality of {answer.images} images (%)")
    groups.add_column("")
    for name in ("PQ", "SQ", "RQ", "classes"):
        groups.add_column(name, justify="right")
    for name, group in answer.groups():
        groups.add_row(name, *_percent(group.pq, group.sq, group.rq), str(group.n))
    console = Console()
    console.print(groups)
    if per_class:
        console.print(_class_table(answer))


def _class_table(answer: Score) -> Table:
    table = Table(title="Classes that occur (%)")
    table.add_column("class")
    table.add_column("kind")
    for name in ("PQ", "SQ", "RQ", "TP", "FP", "FN"):
        table.add_column(name, justify="right")
    for category, quality in zip(answer.categories, answer.result.per_class):
        if quality.occurs:
            counts = (str(count) for count in (quality.tp, quality.fp, quality.fn))
            kind = "thing" if category.is_thing else "stuff"
            # Text, because a name with brackets would be read as rich's markup.
            table.add_row(Text(category.name), kind, *_percent(quality.pq, quality.sq, quality.rq), *counts)
    return table


def _percent(*values: float) -> list[str]:
    return [f"{value:.2f}" for value in values]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; answers the exit code: 0, or 2 with a sentence on stderr."""
    parser = argparse.ArgumentParser(prog="opsnet-score", description="Panoptic quality of COCO panoptic predictions.")
    parser.add_argument("--gt", required=True, help="json of the ground truth")
    parser.add_argument("--pred", required=True, help="json of the prediction")
    parser.add_argument("--gt-dir", help="PNGs of the ground truth (default: the json's path without .json)")
    parser.add_argument("--pred-dir", help="PNGs of the prediction (default: the json's path without .json)")
    parser.add_argument("--json", action="store_true", help="print json, with every class, instead of tables")
    parser.add_argument("--per-class", action="store_true", help="print a table of classes too")
    options = parser.parse_args(arguments)
    try:
        answer = score(options.gt, options.pred, options.gt_dir, options.pred_dir, progress=sys.stderr.isatty())
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if options.json:
        print(json.dumps(answer.as_dict(), indent=2))
    else:
        print_score(answer, options.per_class)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
