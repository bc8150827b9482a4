"""Pairs of ground truth and prediction on disk: two panoptic jsons, checked against each other, and their PNGs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from opsnet.data.coco_panoptic import PanopticJson
from opsnet.data.panoptic_index import PanopticIndex, index_annotations, is_large, seen_before, stem_of
from opsnet.data.panoptic_records import Category
from opsnet.evaluation.score_pair import ImageFiles
from opsnet.metrics.panoptic_arithmetic import SegmentTable, Side
from opsnet.utils.errors import DatasetError
from opsnet.utils.forks import can_fork, map_in_forks
from opsnet.utils.late_logging import warn


class SideFiles(NamedTuple):
    """The ground truth's or the prediction's annotations and PNGs.

    Attributes:
        side: ``truth`` or ``prediction``.
        folder: of the PNGs.
        annotations: where the json has them.
        label_of: index among the ground truth's categories of each category id.
    """

    side: Side
    folder: Path
    annotations: PanopticIndex
    label_of: Mapping[int, int]

    def image(self, number: int) -> ImageFiles:
        """The files of one annotation.

        Raises:
            DatasetError: the json is not what it was.
        """
        image_id, file_name, segments = self.annotations.annotation(number)
        ids = np.array(segments.ids, np.int64)
        labels = np.array([self.label_of[category_id] for category_id in segments.category_ids], np.int64)
        if self.side == "prediction":
            table = SegmentTable(self.side, ids, labels, np.zeros(len(ids), np.bool_))
        else:
            crowd, covered = np.array(segments.is_crowd, np.bool_), np.array(segments.covered, np.int64)
            areas = None if None in segments.areas else np.array(segments.areas)
            table = SegmentTable(self.side, ids, labels, crowd, areas, covered)
        return ImageFiles(image_id, self.annotations.path, self.folder / file_name, table)


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
    predicted: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.predicted)

    def __getitem__(self, number: int) -> tuple[ImageFiles, ImageFiles]:
        """The files of one image.

        Raises:
            DatasetError: a json is not what it was.
        """
        return self.truth.image(number), self.prediction.image(int(self.predicted[number]))


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
        DatasetError: a json is missing, malformed or changed meanwhile, a folder is missing, or the jsons contradict
            each other.
    """
    truths, predictions = _index_both(gt_json, pred_json)
    categories = truths.listing.categories()
    truth = _side("truth", truths, gt_dir, categories)
    if not len(truths):
        raise DatasetError(f"{gt_json} has no annotations: give a ground truth with at least one image")
    _require_same_names(truths, predictions)
    _compare_categories(categories, predictions.listing)
    prediction = _side("prediction", predictions, pred_dir, categories)
    return FilePairs(categories, truth, prediction, _positions(truths, predictions))


def _index_both(gt_json: Path, pred_json: Path) -> Iterable[PanopticIndex]:
    """Both jsons; at the same time if they are large, because a small one is read before a process would be ready."""
    paths = (gt_json, pred_json)

    def index(predicted: bool) -> PanopticIndex:
        return index_annotations(paths[predicted], predicted=predicted)

    if can_fork() and all(map(is_large, paths)):
        return map_in_forks(index, (False, True), len(paths), fix="run the same command again")
    return map(index, (False, True))


def _positions(truths: PanopticIndex, predictions: PanopticIndex) -> NDArray[np.int64]:
    """Position (I,) in the prediction of each image of the ground truth.

    Raises:
        DatasetError: an image is not predicted.
    """
    for number in seen_before(predictions.keys):
        warn(
            __name__,
            "%s predicts image %s twice: the last prediction is scored, as in panopticapi",
            *(predictions.path, predictions.annotation(number).image_id),
        )
    if (missing := np.flatnonzero(~np.isin(truths.keys, predictions.keys))).size:
        raise DatasetError(
            f"{predictions.path} has no annotation for image {truths.annotation(missing[0]).image_id} of "
            f"{truths.path}: predict that image too, or give opsnet-predict ids_from=GT.json if the images are "
            "numbered in another way"
        )
    order = np.argsort(predictions.keys, kind="stable")
    return order[np.searchsorted(predictions.keys, truths.keys, side="right", sorter=order) - 1]


def _require_same_names(truths: PanopticIndex, predictions: PanopticIndex) -> None:
    """Checks that no image id belongs to different files, if both jsons have valid ``images``; suffixes may differ.

    Raises:
        DatasetError: one does.
    """
    if truths.names is None or predictions.names is None:
        return
    _, places, predicted = np.intersect1d(truths.names.keys, predictions.names.keys, True, return_indices=True)
    differ = np.flatnonzero(truths.names.stems[places] != predictions.names.stems[predicted])
    if differ.size:
        first = differ[np.argmin(predicted[differ])]
        theirs, ours = truths.image(places[first]), predictions.image(predicted[first])
        raise DatasetError(
            f"image {ours.id} is {stem_of(ours.file_name)} in {predictions.path}, but {stem_of(theirs.file_name)} in "
            f"{truths.path}: predict with the ids of the ground truth (opsnet-predict ids_from={truths.path}), or "
            "remove `images` from the prediction if the ids are right"
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
        warn(
            __name__,
            "%d categories have other names in %s, the first is %d: '%s' for '%s'. Classes are compared by id: if "
            "these are other classes, predict with the categories of the ground truth (vocabulary=GT.json)",
            *(len(others), prediction.path, first.id, name, first.name),
        )


def _side(side: Side, index: PanopticIndex, folder: str | Path | None, categories: Sequence[Category]) -> SideFiles:
    """The annotations with their folder and labels.

    Raises:
        DatasetError: the folder is missing, or a category is unknown.
    """
    folder = index.path.with_suffix("") if folder is None else Path(folder)
    if not folder.is_dir():
        option = "--gt-dir" if side == "truth" else "--pred-dir"
        raise DatasetError(f"the folder {folder} with the PNGs of {index.path} does not exist: give it by {option}")
    label_of = {category.id: label for label, category in enumerate(categories)}
    if unknown := [number for category_id, number in index.first_with.items() if category_id not in label_of]:
        image_id, _, segments = index.annotation(min(unknown))
        segment_id, category_id = next(pair for pair in zip(*segments[:2]) if pair[1] not in label_of)
        raise DatasetError(
            f"{index.path}: image {image_id}, segment {segment_id} has unknown category_id {category_id}: use an id of "
            "the ground truth's categories"
        )
    return SideFiles(side, folder, index, label_of)
