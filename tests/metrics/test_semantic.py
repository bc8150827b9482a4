"""mIoU and its kin: cases worked by hand, random maps against torchmetrics."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from pq_reference import carriers
from torchmetrics.functional.classification import multiclass_accuracy, multiclass_jaccard_index

from opsnet.metrics.image_overlaps import image_overlaps
from opsnet.metrics.semantic import (
    SEMANTIC_RULE,
    SemanticCounts,
    count_semantic,
    mean_iou,
    semantic_block,
    semantic_map_block,
    summarise_semantic,
)
from opsnet.structures import GroundTruth, PanopticMap, Segment


def counts_of(truth, truth_segments, prediction, prediction_segments, classes: int) -> SemanticCounts:
    image = carriers(truth, truth_segments, prediction, prediction_segments)
    return count_semantic(image_overlaps(*image, num_classes=classes))


def test_case_worked_by_hand() -> None:
    # Truth: void, class 0 (two segments) 4 pixels, class 1 (a crowd) 2. Prediction: class 0 on void and on 3 pixels
    # of class 0, void on the fourth; class 1 on one pixel, class 2 (never true) on the other. Class 3 never occurs.
    counts = counts_of(
        *([[0, 1, 1, 2, 2, 3, 3]], {1: (0, False), 2: (0, False), 3: (1, True)}),
        *([[5, 5, 5, 5, 0, 6, 7]], {5: (0, False), 6: (1, False), 7: (2, False)}),
        classes=4,
    )
    result = summarise_semantic(counts)
    assert [c.true_pixels for c in result.per_class] == [4, 2, 0, 0]
    assert [c.predicted_pixels for c in result.per_class] == [3, 1, 1, 0]  # the pixel on void does not count
    assert [c.iou for c in result.per_class] == pytest.approx([75, 50, 0, math.nan], nan_ok=True)
    assert [c.acc for c in result.per_class] == pytest.approx([75, 50, math.nan, math.nan], nan_ok=True)
    assert result.n == 2
    assert result.as_dict() == pytest.approx(
        {"mIoU": 62.5, "fwIoU": (75 * 4 + 50 * 2) / 6, "mACC": 62.5, "pACC": 100 * 4 / 6, "mIoU_occurring": 125 / 3}
    )
    assert mean_iou(result, [True, False, True, True]) == pytest.approx(75)
    assert math.isnan(mean_iou(result, [False, False, True, True]))
    assert "only predicted" in SEMANTIC_RULE


def test_segments_of_one_class_count_together() -> None:
    # Swapped instances of one class are no error.
    both = {1: (0, False), 2: (0, False)}
    assert summarise_semantic(counts_of([[1, 1, 2, 2]], both, [[2, 2, 1, 1]], both, classes=1)).miou == 100


@pytest.mark.parametrize("prediction", [{}, {1: (0, False)}])
def test_without_true_pixels_there_is_no_figure(prediction) -> None:
    result = summarise_semantic(counts_of([[0, 0]], {}, [[len(prediction)] * 2], prediction, classes=2))
    assert result.as_dict() == {}
    assert all(math.isnan(value) for value in (result.miou, result.fwiou, result.macc, result.pacc))
    assert math.isnan(summarise_semantic(SemanticCounts.zeros(2)).miou_occurring)


CLASSES = 7


def random_labels(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels, -1 void: class 5 is true but never predicted, class 6 predicted but never true, class 4 neither."""
    rng = np.random.default_rng(seed)
    truth = rng.choice([-1, 0, 1, 2, 3, 5], (6, 9))
    prediction = np.where(rng.random(truth.shape) < 0.6, truth, rng.choice([0, 1, 2, 3, 6], truth.shape))
    return truth, np.where(np.isin(prediction, (-1, 5)), 0, prediction)


def image_of(labels: np.ndarray) -> tuple[np.ndarray, dict[int, tuple[int, bool]]]:
    """A segment a class, with id 1 + label."""
    return labels + 1, {int(label) + 1: (int(label), False) for label in np.unique(labels) if label >= 0}


@pytest.mark.parametrize("void_predicted", [False, True])
def test_random_maps_equal_torchmetrics(void_predicted: bool) -> None:
    images = [random_labels(seed) for seed in range(5)]
    if void_predicted:
        images = [(truth, np.where(truth == 2, -1, prediction)) for truth, prediction in images]
    counts = sum((counts_of(*image_of(t), *image_of(p), CLASSES) for t, p in images), SemanticCounts.zeros(CLASSES))
    result = summarise_semantic(counts)
    truth, prediction = (torch.from_numpy(np.concatenate(maps)) for maps in zip(*images))
    # torchmetrics has no void in a prediction: there it is a class of its own.
    prediction = torch.where(prediction < 0, CLASSES, prediction)
    settings = {"num_classes": CLASSES + 1, "ignore_index": -1}
    true = [0, 1, 2, 3, 5]
    ious = multiclass_jaccard_index(prediction, truth, average="none", **settings)[true]
    assert [result.per_class[c].iou for c in true] == pytest.approx((100 * ious).tolist(), abs=1e-4)
    assert result.miou == pytest.approx(100 * ious.mean().item(), abs=1e-4)
    assert result.macc == pytest.approx(
        100 * multiclass_accuracy(prediction, truth, average="none", **settings)[true].mean().item(), abs=1e-4
    )
    assert result.pacc == pytest.approx(
        100 * multiclass_accuracy(prediction, truth, average="micro", **settings).item(), abs=1e-4
    )
    weighted = multiclass_jaccard_index(prediction, truth, average="weighted", **settings)
    assert result.fwiou == pytest.approx(100 * weighted.item(), abs=1e-4)
    if not void_predicted:  # its mean counts the void class
        macro = multiclass_jaccard_index(prediction, truth, average="macro", **settings)
        assert result.miou_occurring == pytest.approx(100 * macro.item(), abs=1e-4)
        assert result.miou_occurring < result.miou, "class 6 is only predicted"


def test_a_semantic_map_by_hand() -> None:
    # Truth: void, class 2 (two segments, one of them crowd), class 0. Prediction: class 1 on void and on one pixel of
    # class 2, void (-1) on another, class 0 on class 0.
    truth = GroundTruth(
        torch.tensor([[0, 4, 4, 7, 2]]),
        (Segment(4, 2, True), Segment(7, 2, True, is_crowd=True), Segment(2, 0, False)),
    )
    counts = SemanticCounts.zeros(3)
    counts.add(semantic_map_block(torch.tensor([[1, 1, 2, -1, 0]]), truth, 3))
    assert counts.right.tolist() == [1, 0, 1]
    assert counts.true.tolist() == [1, 0, 3]
    assert counts.predicted.tolist() == [1, 1, 1]
    result = summarise_semantic(counts)
    assert result.miou == pytest.approx((100 + 100 / 3) / 2)
    assert result.miou_occurring == pytest.approx((100 + 100 / 3 + 0) / 3)


def test_a_semantic_map_counts_as_the_panoptic_map_of_its_classes() -> None:
    truth, labels = random_labels(0)
    ids, segments = image_of(truth)
    carrier = GroundTruth(torch.from_numpy(ids), tuple(Segment(i, c, True) for i, (c, _) in segments.items()))
    found = SemanticCounts.zeros(CLASSES)
    found.add(semantic_map_block(torch.from_numpy(labels), carrier, CLASSES))
    expected = counts_of(ids, segments, *image_of(labels), CLASSES)
    for name, array in found.sums.items():
        assert np.array_equal(array, expected.sums[name]) and array.any()
    with pytest.raises(ValueError, match="label 7, but there are 7 classes"):
        semantic_map_block(torch.from_numpy(labels + 1), carrier, CLASSES)


def test_a_block_holds_only_the_images_segments_and_adds_up_by_class() -> None:
    truth, prediction = torch.tensor([[1, 1, 2, 0]]), torch.tensor([[1, 2, 2, 2]])
    same = (Segment(1, 5, False), Segment(2, 5, False))
    block = semantic_block(image_overlaps(PanopticMap(prediction, same), GroundTruth(truth, same), num_classes=900))
    assert block.pixels.shape == (3, 3)
    counts = SemanticCounts.zeros(900)
    for _ in range(2):
        counts.add(block)
    assert counts.right[5] == counts.true[5] == 6  # both segments of the class, twice
    assert counts.predicted[5] == 6  # without the pixel on void
    assert all(array.sum() == 6 for array in counts.sums.values())
