"""LVIS' federated rule: by eye on single images, and equal to lvis-api on sets of rectangles."""

from __future__ import annotations

import numpy as np
import pytest
from federated_set import CATEGORIES, SIZE, federated_set, polygon
from pycocotools import mask as coco_masks

from opsnet.metrics.average_precision import summarise_instances
from opsnet.metrics.federated import MAX_DETECTIONS, FederatedImage, federated, group_averages
from opsnet.metrics.instances import Instance

LABELS = {category: label for label, category in enumerate(CATEGORIES)}
GROUPS = {f: [LABELS[i] for i, of_class in CATEGORIES.items() if of_class == f] for f in "rcf"}


def rectangle(box, label: int = 0, score: float = 1.0) -> Instance:
    return Instance(label, coco_masks.merge(coco_masks.frPyObjects(polygon(box), *SIZE)), score)


def image(true=(), negative=(), not_exhaustive=()) -> FederatedImage:
    return FederatedImage(SIZE, tuple(true), frozenset(negative), frozenset(not_exhaustive))


BOX, ELSEWHERE = (0, 0, 20, 20), (30, 20, 60, 40)


def ap_of(predicted, truth: FederatedImage, classes: int = 3) -> float:
    return summarise_instances([federated(predicted, truth)], classes, MAX_DETECTIONS).ap


def test_a_class_of_which_the_image_says_nothing_is_left_out() -> None:
    detections = [rectangle(BOX, 0, 0.5), rectangle(ELSEWHERE, 1, 0.9)]
    assert federated(detections, image([rectangle(BOX)])).predicted == tuple(detections[:1])
    assert federated(detections, image([rectangle(BOX)], negative=[1])).predicted == tuple(detections)


def test_a_false_positive_of_a_class_that_is_not_exhaustive_is_ignored() -> None:
    detections = [rectangle(BOX, 0, 0.5), rectangle(ELSEWHERE, 0, 0.9)]
    assert ap_of(detections, image([rectangle(BOX)])) == pytest.approx(50)
    assert ap_of(detections, image([rectangle(BOX)], not_exhaustive=[0])) == pytest.approx(100)
    assert ap_of(detections[1:], image([rectangle(BOX)], not_exhaustive=[0])) == 0, (
        "the instance is missed all the same"
    )


def test_a_second_detection_of_an_instance_is_ignored_where_not_exhaustive() -> None:
    detections = [rectangle(BOX, 0, 0.9), rectangle(BOX, 0, 0.8), rectangle(ELSEWHERE, 0, 0.7)]
    truth = [rectangle(BOX), rectangle(ELSEWHERE)]
    assert ap_of(detections, image(truth)) < 90
    assert ap_of(detections, image(truth, not_exhaustive=[0])) == pytest.approx(100)


def test_an_empty_mask_is_ignored_where_not_exhaustive() -> None:
    empty = Instance(0, coco_masks.encode(np.zeros(SIZE, np.uint8, order="F")), 0.99)
    detections = [empty, rectangle(BOX, 0, 0.9)]
    assert ap_of(detections, image([rectangle(BOX)])) == pytest.approx(50)
    assert ap_of(detections, image([rectangle(BOX)], not_exhaustive=[0])) == pytest.approx(100)


def test_groups_average_over_classes_with_an_instance() -> None:
    truth = image([rectangle(BOX, 0), rectangle(ELSEWHERE, 1)])
    result = summarise_instances([federated([rectangle(BOX, 0)], truth)], 4, MAX_DETECTIONS)
    found = group_averages(result, {"r": [0, 2], "c": [0, 1], "f": [3]})
    assert found == pytest.approx({"APr": 100, "APc": 50})


# lvis 0.5.3 (PyPI) with numpy 1.23.5 on the same sets: AP, AP50, AP75, APr, APc, APf. It needs numpy before 1.24.
PUBLISHED = {
    0: (19.278208923128084, 31.450449632190637, 22.462916883125605, 6.689966401697041, 12.383816426150188,
        38.76084394153701),
    1: (18.508934009907463, 26.250834327354887, 21.430547002919255, 14.565721868955666, 23.445771104259745,
        17.515309056506982),
    2: (27.263959829845785, 43.1217306419869, 29.81238815059834, 24.575146412232368, 38.1034768311996,
        19.113256246105394),
}  # fmt: skip


@pytest.mark.parametrize("seed", PUBLISHED)
def test_the_package_of_lvis_gives_the_same(seed: int) -> None:
    content, detections = federated_set(seed)
    found = []
    for one in content["images"]:
        true = [
            Instance(LABELS[a["category_id"]], coco_masks.merge(coco_masks.frPyObjects(a["segmentation"], *SIZE)))
            for a in content["annotations"]
            if a["image_id"] == one["id"]
        ]
        lists = ([LABELS[i] for i in one[f"{key}_category_ids"]] for key in ("neg", "not_exhaustive"))
        mine = sorted((d for d in detections if d["image_id"] == one["id"]), key=lambda d: -d["score"])[:MAX_DETECTIONS]
        predicted = [rectangle(d["box"], LABELS[d["category_id"]], d["score"]) for d in mine]
        found.append(federated(predicted, image(true, *lists)))
    result = summarise_instances(found, len(CATEGORIES), MAX_DETECTIONS)
    groups = group_averages(result, GROUPS)
    values = (*result.as_dict().values(), *(groups[f"AP{f}"] for f in "rcf"))
    assert values == pytest.approx(PUBLISHED[seed], abs=1e-9)
    assert max(len([d for d in detections if d["image_id"] == one["id"]]) for one in content["images"]) > MAX_DETECTIONS
