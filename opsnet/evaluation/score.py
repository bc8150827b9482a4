"""Panoptic quality of COCO panoptic predictions on disk, computed as by panopticapi, without importing torch."""

from __future__ import annotations

import dataclasses
import logging
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from opsnet.data.coco_panoptic import PanopticJson
from opsnet.data.panoptic_records import Annotation, Category, SegmentInfo
from opsnet.evaluation.score_pair import ImageFiles, PairScore, score_pair
from opsnet.metrics.panoptic_arithmetic import Side
from opsnet.metrics.panoptic_averages import PanopticCounts, PanopticScores, Quality, summarise
from opsnet.utils.errors import DatasetError
from opsnet.utils.processes import map_in_processes
from opsnet.utils.stop_signals import worker_signals

logger = logging.getLogger(__name__)

LEAST_PER_PROCESS = 100
"""Images; fewer are scored before a further process would be ready."""
KEPT_BYTES = 2**26 - 2**16
"""Memory that is kept for the next image; twice the largest block that glibc considers (32 MiB)."""


@dataclass(frozen=True)
class Score:
    """The result of :func:`score`.

    Attributes:
        result: PQ, SQ and RQ in percent; ``per_class`` in the order of ``categories``.
        categories: categories of the ground truth.
        images: number of scored images.
        boundary: Boundary PQ and its parts, if requested.
    """

    result: PanopticScores
    categories: tuple[Category, ...]
    images: int
    boundary: PanopticScores | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values: ``PQ``, ``PQth``, ``PQst``, ``SQ``, ``RQ``, ``images``, the three groups, and each class.

        ``boundary`` has the averages of Boundary PQ, if requested.
        """
        groups = {name.lower(): dataclasses.asdict(group) for name, group in self.groups()}
        boundary = {} if self.boundary is None else {"boundary": self.boundary.as_dict()}
        per_class = [
            {"id": category.id, "name": category.name, **dataclasses.asdict(quality)}
            for category, quality in zip(self.categories, self.result.per_class)
        ]
        return {**self.result.as_dict(), "images": self.images, **groups, **boundary, "per_class": per_class}

    def groups(self) -> tuple[tuple[str, Quality], ...]:
        """The three averages with their names, as panopticapi prints them."""
        return groups_of(self.result)


def groups_of(scores: PanopticScores) -> tuple[tuple[str, Quality], ...]:
    """The three averages with their names, as panopticapi prints them."""
    return ("All", scores.all), ("Things", scores.things), ("Stuff", scores.stuff)


def score(
    gt_json: str | Path,
    pred_json: str | Path,
    gt_dir: str | Path | None = None,
    pred_dir: str | Path | None = None,
    progress: bool = False,
    boundary: bool = False,
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
        boundary: compute Boundary PQ too, see :mod:`opsnet.metrics.boundary`.

    Raises:
        DatasetError: a file is missing or malformed, or files contradict each other.
    """
    pairs, categories = _read(Path(gt_json), Path(pred_json), gt_dir, pred_dir)
    counts, wrong_areas, example = PanopticCounts.zeros(len(categories)), 0, ""
    on_boundary = PanopticCounts.zeros(len(categories))
    for image in _score_images(pairs, len(categories), progress, boundary):
        counts += image.counts
        on_boundary += image.boundary or PanopticCounts.zeros(len(categories))
        wrong_areas += len(image.wrong_areas)
        example = example or "".join(image.wrong_areas[:1])
    if wrong_areas:
        logger.warning(
            "%d segment areas in the ground truth's json differ from its PNGs; the json is used, as in panopticapi: %s",
            *(wrong_areas, example),
        )
    is_thing = [category.is_thing for category in categories]
    of_boundary = summarise(on_boundary, is_thing) if boundary else None
    return Score(summarise(counts, is_thing), categories, len(pairs), of_boundary)


def _read(
    gt_json: Path, pred_json: Path, gt_dir: str | Path | None, pred_dir: str | Path | None
) -> tuple[list[tuple[ImageFiles, ImageFiles]], tuple[Category, ...]]:
    """Ground truth and prediction of each image, and the categories; the jsons' contents are not kept.

    Raises:
        DatasetError: as in :func:`score`, about anything but the PNGs.
    """
    truth_json = PanopticJson(gt_json)
    categories, names = truth_json.categories(), _stems(truth_json)
    truths = _by_image(truth_json, gt_dir, categories)
    if not truths:
        raise DatasetError(f"{gt_json} has no annotations: give a ground truth with at least one image")
    del truth_json  # before the other is read: each takes several times its file
    prediction_json = PanopticJson(pred_json, predicted=True)
    _require_same_names(gt_json, names, prediction_json)
    _compare_categories(categories, prediction_json)
    predictions = _by_image(prediction_json, pred_dir, categories)
    for image_id in truths:
        if image_id not in predictions:
            raise DatasetError(
                f"{pred_json} has no annotation for image {image_id} of {gt_json}: predict that image too, or give "
                "opsnet-predict ids_from=GT.json if the images are numbered in another way"
            )
    return [(truth, predictions[image_id]) for image_id, truth in truths.items()], categories


def _require_same_names(gt_json: Path, theirs: Mapping[int | str, str], prediction: PanopticJson) -> None:
    """Checks that no image id belongs to different files, if both files have valid ``images``; suffixes may differ.

    Args:
        gt_json: the ground truth.
        theirs: its :func:`_stems`.
        prediction: the prediction.

    Raises:
        DatasetError: one does.
    """
    ours = _stems(prediction)
    for image_id in ours.keys() & theirs.keys():
        if ours[image_id] != theirs[image_id]:
            raise DatasetError(
                f"image {image_id} is {ours[image_id]} in {prediction.path}, but {theirs[image_id]} in {gt_json}: "
                f"predict with the ids of the ground truth (opsnet-predict ids_from={gt_json}), or remove `images` "
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


def _by_image(
    listing: PanopticJson, folder: str | Path | None, categories: Sequence[Category]
) -> dict[int | str, ImageFiles]:
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
    images: dict[int | str, ImageFiles] = {}
    for annotation in listing.annotations():
        image_id = annotation.image_id
        if image_id in images:
            logger.warning(
                "%s predicts image %s twice: the last prediction is scored, as in panopticapi", listing.path, image_id
            )
        images[image_id] = _files(listing, folder, annotation, label_of)
    return images


def _files(listing: PanopticJson, folder: Path, annotation: Annotation, label_of: Mapping[int, int]) -> ImageFiles:
    segments = annotation.segments
    for segment in segments:
        if segment.category_id not in label_of:
            raise DatasetError(
                f"{listing.path}: image {annotation.image_id}, segment {segment.id} has unknown category_id "
                f"{segment.category_id}: use an id of the ground truth's categories"
            )
    side: Side = "prediction" if listing.predicted else "truth"
    rows = [(s.id, label_of[s.category_id], s.is_crowd, s.covered) for s in segments]
    return ImageFiles(
        annotation.image_id, side, listing.path, folder, annotation.file_name,
        np.array(rows, dtype=np.int64).reshape(-1, 4), _areas(segments),
    )  # fmt: skip


def _areas(segments: Sequence[SegmentInfo]) -> npt.NDArray[Any] | None:
    """Areas (S,) of the json, or ``None`` if one is missing."""
    areas = [segment.area for segment in segments]
    return None if None in areas else np.array(areas)


def _score_images(
    pairs: Sequence[tuple[ImageFiles, ImageFiles]], num_classes: int, progress: bool, boundary: bool
) -> Iterable[PairScore]:
    """The result of each image, in order, so that sums do not depend on the number of processes."""
    one = partial(_score_one, num_classes=num_classes, boundary=boundary)
    processes = min(os.cpu_count() or 1, len(pairs) // LEAST_PER_PROCESS)
    # Not threads, which take longer than one: the work is a hundred small steps, which all need the interpreter. Copies
    # of this process start at once, but not where threads may hold locks, as torch's do.
    can_fork = sys.platform == "linux" and "torch" not in sys.modules
    _keep_freed_memory()
    results = map_in_processes(
        one, pairs, processes if can_fork else 1, fix="run the same command again", chunk=16, begin=_begin_process,
        method="fork",
    )  # fmt: skip
    if not progress:
        return results
    from rich.console import Console  # takes as long to import as 50 images to score
    from rich.progress import track

    return track(results, "scoring", len(pairs), console=Console(stderr=True))


def _score_one(pair: tuple[ImageFiles, ImageFiles], *, num_classes: int, boundary: bool) -> PairScore:
    return score_pair(*pair, num_classes, boundary=boundary)


def _begin_process() -> None:
    worker_signals()
    _keep_freed_memory()


def _keep_freed_memory() -> None:
    """Stops glibc from returning each image's arrays to the system, which takes longer than counting their pixels.

    It keeps free memory up to twice the largest block freed so far (``M_MMAP_THRESHOLD`` in mallopt(3)).
    """
    np.empty(KEPT_BYTES // 2, np.uint8)
