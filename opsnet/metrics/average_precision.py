"""Average precision of things: AP, AP50 and AP75 by pycocotools' ``COCOeval`` on masks."""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_masks
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from opsnet.metrics.instances import Instance

INSTANCE_RULE = (
    "AP is the mean over IoU 0.50:0.05:0.95 and over the thing classes with a ground-truth instance (COCOeval, 100 "
    "detections per image and class); crowd is ignored; void is not, so a detection on void is a false positive"
)
"""To be printed with the results."""

MAX_DETECTIONS = 100
_AP50, _AP75 = 0, 5  # indices of 0.50 and 0.75 among COCO's ten IoU thresholds


@dataclass(frozen=True)
class ImageInstances:
    """Predicted and ground-truth instances of one image. Lists of several images or ranks are concatenated."""

    predicted: tuple[Instance, ...]
    true: tuple[Instance, ...]


class InstanceRecords:
    """The instances of all images so far, as json values; see :class:`opsnet.metrics.merging.Mergeable`."""

    def __init__(self) -> None:
        self.sums: dict[str, npt.NDArray[np.int64]] = {}
        self.records: dict[str, dict[int, Any]] = {"images": {}}

    def add(self, index: int, instances: ImageInstances) -> None:
        """Adds the image at this position of its dataset."""
        self.records["images"][index] = [
            [
                [one.label, *one.mask["size"], one.mask["counts"].decode("ascii"), one.score, one.is_crowd]
                for one in side
            ]
            for side in (instances.predicted, instances.true)
        ]

    def images(self) -> list[ImageInstances]:
        """The instances of all images, in the order of the dataset."""
        by_image = (value for _, value in sorted(self.records["images"].items()))
        return [ImageInstances(*(tuple(map(_instance, side)) for side in sides)) for sides in by_image]


def _stored(one: Instance) -> list[Any]:
    return [one.label, *one.mask["size"], one.mask["counts"].decode("ascii"), one.score, one.is_crowd]


def _instance(stored: Sequence[Any]) -> Instance:
    label, height, width, counts, score, is_crowd = stored
    return Instance(label, {"size": [height, width], "counts": counts.encode("ascii")}, score, is_crowd)


@dataclass(frozen=True)
class ClassPrecision:
    """One class in percent; nan without a ground-truth instance. ``instances`` counts these, without crowd."""

    label: int
    ap: float
    ap50: float
    ap75: float
    instances: int


@dataclass(frozen=True)
class InstanceResult:
    """Averages in percent over the ``n`` classes with a ground-truth instance (nan if n = 0), and per-class results."""

    ap: float
    ap50: float
    ap75: float
    n: int
    per_class: tuple[ClassPrecision, ...]

    def as_dict(self) -> dict[str, float]:
        """``AP``, ``AP50`` and ``AP75``; empty if no class has a ground-truth instance."""
        return {"AP": self.ap, "AP50": self.ap50, "AP75": self.ap75} if self.n else {}


def summarise_instances(
    images: Sequence[ImageInstances], num_classes: int, max_detections: int = MAX_DETECTIONS
) -> InstanceResult:
    """Average precision over all images, by ``INSTANCE_RULE``.

    A ground-truth instance without pixels is a miss. A class that is only predicted is left out, as in COCOeval.

    Args:
        images: all images; their order matters only among equal scores.
        num_classes: M.
        max_detections: of one class in an image.

    Raises:
        ValueError: a label is out of range.
    """
    labels = [one.label for image in images for one in (*image.predicted, *image.true)]
    if any(not 0 <= label < num_classes for label in labels):
        raise ValueError(f"an instance has a label outside the {num_classes} classes: give both the same vocabulary")
    wanted = [one.label for image in images for one in image.true if not one.is_crowd]
    counts = np.bincount(np.array(wanted, dtype=np.int64), minlength=num_classes)
    figures = np.full((num_classes, 3), np.nan)
    categories = np.flatnonzero(counts)
    if categories.size:
        precision = _precision(images, categories.tolist(), max_detections)
        figures[categories] = 100 * np.stack((precision.mean(0), precision[_AP50], precision[_AP75]), axis=1)
    ap, ap50, ap75 = figures[categories].mean(axis=0).tolist() if categories.size else [math.nan] * 3
    rows = zip(*figures.T.tolist(), counts.tolist())
    per_class = tuple(ClassPrecision(label, *row) for label, row in enumerate(rows))
    return InstanceResult(ap, ap50, ap75, int(categories.size), per_class)


def _precision(
    images: Sequence[ImageInstances], categories: Sequence[int], max_detections: int
) -> npt.NDArray[np.float64]:
    """Precision averaged over recalls at each IoU, (10, C), of categories that all have a ground-truth instance.

    One category at a time, with the images that have it: COCOeval keeps an entry for every pair of an image and a
    category, which are 24 million for LVIS.
    """
    of_category: dict[int, list[ImageInstances]] = {category: [] for category in categories}
    for image in images:
        by_label: dict[int, tuple[list[Instance], list[Instance]]] = {}
        for side, instances in enumerate((image.predicted, image.true)):
            for one in instances:
                by_label.setdefault(one.label, ([], []))[side].append(one)
        for label in by_label.keys() & of_category.keys():
            predicted, true = by_label[label]
            of_category[label].append(ImageInstances(tuple(predicted), tuple(true)))
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
        columns = [_precision_of(found, max_detections) for found in of_category.values()]
    return np.stack(columns, axis=1)


def _precision_of(images: Sequence[ImageInstances], max_detections: int) -> npt.NDArray[np.float64]:
    """The same of images whose instances are all of one category, (10,)."""
    sides = [_coco([getattr(image, side) for image in images]) for side in ("true", "predicted")]
    evaluation = COCOeval(*sides, iouType="segm")
    evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
    evaluation.params.maxDets = [max_detections]
    evaluation.evaluate()
    evaluation.accumulate()
    precision: npt.NDArray[np.float64] = evaluation.eval["precision"][:, :, 0, 0, 0].mean(axis=1)
    return precision


def _coco(images: Sequence[Sequence[Instance]]) -> COCO:
    """Instances of one category as a pycocotools dataset. Not by ``loadRes``, which refuses an empty list."""
    annotations: list[dict[str, Any]] = []
    for image_id, instances in enumerate(images):
        for one in instances:
            annotations.append({
                "id": len(annotations) + 1,  # 0 would read as "no match"
                "image_id": image_id,
                "category_id": 1,
                "segmentation": one.mask,
                "area": float(coco_masks.area(one.mask)),
                "score": one.score,
                "iscrowd": int(one.is_crowd),
            })  # fmt: skip
    coco = COCO()
    coco.dataset = {
        # Image sizes are omitted: pycocotools reads them only for polygons.
        "images": [{"id": image_id, "height": 0, "width": 0} for image_id in range(len(images))],
        "categories": [{"id": 1}],
        "annotations": annotations,
    }
    coco.createIndex()
    return coco
