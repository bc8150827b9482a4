"""Pairs of ground truth and prediction on disk: two panoptic jsons, checked against each other, and their PNGs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from opsnet.data.coco_panoptic import PanopticJson
from opsnet.data.panoptic_columns import PanopticColumns, PanopticLists, read_columns
from opsnet.data.panoptic_records import Category, ImageId
from opsnet.evaluation.score_pair import ImageFiles
from opsnet.metrics.panoptic_arithmetic import SegmentTable, Side
from opsnet.utils.errors import DatasetError
from opsnet.utils.forks import can_fork, map_in_forks
from opsnet.utils.late_logging import warn

LARGE_JSON = 2**18
"""Bytes; a smaller json is read before another process would be ready."""


class SideFiles(NamedTuple):
    """The ground truth's or the prediction's annotations and PNGs.

    Attributes:
        side: ``truth`` or ``prediction``.
        folder: of the PNGs.
        columns: the annotations.
        labels: (S,) category of each segment, as index of the ground truth's categories.
    """

    side: Side
    folder: Path
    columns: PanopticColumns
    labels: npt.NDArray[np.int32]

    def image(self, number: int) -> ImageFiles:
        """The files of one annotation."""
        columns, rows = self.columns, self.columns.rows(number)
        table = SegmentTable(
            self.side,
            columns.ids[rows].astype(np.int64),
            self.labels[rows].astype(np.int64),
            columns.is_crowd[rows],
            _stated(columns.areas[rows]),
            columns.covered[rows],
        )
        return ImageFiles(columns.image_ids[number], columns.path, self.folder / columns.file_names[number], table)


@dataclass(frozen=True)
class FilePairs:
    """All images of a ground truth with their predictions; indexed by position in the ground truth's json.

    Attributes:
        categories: of the ground truth.
        truth: its files.
        prediction: those of the prediction.
        predicted: (I,) position of each image's annotation in the prediction.
    """

    categories: tuple[Category, ...]
    truth: SideFiles
    prediction: SideFiles
    predicted: Sequence[int]

    def __len__(self) -> int:
        return len(self.predicted)

    def __getitem__(self, number: int) -> tuple[ImageFiles, ImageFiles]:
        return self.truth.image(number), self.prediction.image(self.predicted[number])


def read_pairs(
    gt_json: Path, pred_json: Path, gt_dir: str | Path | None = None, pred_dir: str | Path | None = None
) -> FilePairs:
    """Reads two jsons and checks them against each other; PNGs are not opened.

    Args:
        gt_json: the ground truth.
        pred_json: the prediction.
        gt_dir: folder of the ground truth's PNGs; ``None``: the json's path without ``.json``.
        pred_dir: folder of the prediction's PNGs, likewise.

    Raises:
        DatasetError: a json is missing or malformed, a folder is missing, or the jsons contradict each other.
    """
    (truths, listing), (predictions, predicted_listing) = _read_both(gt_json, pred_json)
    categories = listing.categories()
    truth = _side("truth", truths, gt_dir, categories)
    if not len(truths):
        raise DatasetError(f"{gt_json} has no annotations: give a ground truth with at least one image")
    _require_same_names(listing, predicted_listing)
    _compare_categories(categories, predicted_listing)
    prediction = _side("prediction", predictions, pred_dir, categories)
    return FilePairs(categories, truth, prediction, _positions(truths, predictions))


def _read_both(gt_json: Path, pred_json: Path) -> Iterable[PanopticLists]:
    """Both jsons, at the same time if they are large."""

    def read(path: Path) -> PanopticLists:
        return read_columns(path, predicted=path is pred_json)

    paths = (gt_json, pred_json)
    if can_fork() and all(path.is_file() and path.stat().st_size > LARGE_JSON for path in paths):
        return map_in_forks(read, paths, len(paths), fix="run the same command again")
    return map(read, paths)


def _positions(truths: PanopticColumns, predictions: PanopticColumns) -> Sequence[int]:
    """Position in the prediction of each image of the ground truth."""
    position_of: dict[ImageId, int] = {}
    for number, image_id in enumerate(predictions.image_ids):
        if image_id in position_of:
            warn(
                __name__,
                "%s predicts image %s twice: the last prediction is scored, as in panopticapi",
                *(predictions.path, image_id),
            )
        position_of[image_id] = number
    for image_id in truths.image_ids:
        if image_id not in position_of:
            raise DatasetError(
                f"{predictions.path} has no annotation for image {image_id} of {truths.path}: predict "
                "that image too, or give opsnet-predict ids_from=GT.json if the images are numbered in another way"
            )
    return [position_of[image_id] for image_id in truths.image_ids]


def _require_same_names(truth: PanopticJson, prediction: PanopticJson) -> None:
    """Checks that no image id belongs to different files, if both jsons have valid ``images``; suffixes may differ.

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


def _stems(listing: PanopticJson) -> dict[ImageId, str]:
    """File names by image id, without folders and suffix; none if ``images`` is missing or invalid."""
    try:
        names = listing.images() if "images" in listing else {}
    except DatasetError:  # panopticapi does not read this list
        return {}
    return {image_id: PurePosixPath(name.replace("\\", "/")).stem for image_id, name in names.items()}


def _compare_categories(categories: Sequence[Category], prediction: PanopticJson) -> None:
    """Warns of ids whose names differ; they may be other names of the same classes, such as synonyms."""
    try:
        theirs = {c.id: c.name for c in prediction.categories()} if "categories" in prediction else {}
    except DatasetError:  # panopticapi does not read this list
        return
    others = [(c, theirs[c.id]) for c in categories if c.id in theirs and theirs[c.id].casefold() != c.name.casefold()]
    if others:
        first, name = others[0]
        warn(
            __name__,
            "%d categories have other names in %s, the first is %d: '%s' for '%s'. Classes are compared by id: if "
            "these are other classes, predict with the categories of the ground truth (vocabulary=GT.json)",
            *(len(others), prediction.path, first.id, name, first.name),
        )


def _side(side: Side, columns: PanopticColumns, folder: str | Path | None, categories: Sequence[Category]) -> SideFiles:
    """The annotations with their folder and labels.

    Raises:
        DatasetError: the folder is missing, or a category is unknown.
    """
    folder = columns.path.with_suffix("") if folder is None else Path(folder)
    if not folder.is_dir():
        option = "--gt-dir" if side == "truth" else "--pred-dir"
        raise DatasetError(f"the folder {folder} with the PNGs of {columns.path} does not exist: give it by {option}")

    def refuse(image_id: ImageId, row: int) -> DatasetError:
        return DatasetError(
            f"{columns.path}: image {image_id}, segment {columns.ids[row]} has unknown category_id "
            f"{columns.category_ids[row]}: use an id of the ground truth's categories"
        )

    label_of = {category.id: label for label, category in enumerate(categories)}
    return SideFiles(side, folder, columns, columns.labels(label_of, refuse))


def _stated(areas: npt.NDArray[np.float64]) -> npt.NDArray[Any] | None:
    """Areas of one image's segments, whole numbers if all are, or ``None`` if one is not stated."""
    if np.isnan(areas).any():
        return None
    whole = areas.astype(np.int64)
    return whole if (whole == areas).all() else areas
