"""Accuracy of the names of ground-truth masks, by hand."""

from __future__ import annotations

import pytest
import torch

from opsnet.metrics.mask_classification import MaskClassification, classified_segments
from opsnet.metrics.merging import add_state, state_of
from opsnet.structures import GroundTruth, Segment


def test_top_1_and_top_5_of_all_and_by_class() -> None:
    found = MaskClassification(7)
    logits = torch.tensor([[7.0, 6, 5, 4, 3, 2, 1]]).repeat(4, 1)
    found.add(logits, torch.tensor([0, 0, 4, 5]))  # places 1, 1, 5 and 6
    assert found.as_dict() == pytest.approx(
        {"Acc1_masks": 50, "Acc5_masks": 75, "mAcc1_masks": 100 / 3, "mAcc5_masks": 200 / 3}
    )


def test_equal_logits_are_ranked_in_the_order_of_the_vocabulary() -> None:
    found = MaskClassification(6)
    found.add(torch.zeros(6, 6), torch.arange(6))
    assert found.sums["top1"].tolist() == [1, 0, 0, 0, 0, 0]
    assert found.sums["top5"].tolist() == [1, 1, 1, 1, 1, 0]


def test_images_add_up() -> None:
    logits, labels = torch.randn(9, 4, generator=torch.Generator().manual_seed(0)), torch.arange(9) % 4
    whole, merged = MaskClassification(4), MaskClassification(4)
    whole.add(logits, labels)
    for part in (slice(0, 0), slice(5, 9), slice(0, 5)):
        one = MaskClassification(4)
        one.add(logits[part], labels[part])
        add_state({"": merged}, state_of({"": one}))
    assert merged.as_dict() == whole.as_dict() != {}
    best = (logits.argmax(1) == labels).float().mean()
    assert whole.as_dict()["Acc1_masks"] == pytest.approx(100 * float(best))


def test_without_a_segment_there_is_no_accuracy() -> None:
    assert MaskClassification(3).as_dict() == {}


def test_crowd_and_segments_without_pixels_are_left_out() -> None:
    ids = torch.tensor([[1, 1, 2], [0, 4, 4]])
    segments = (Segment(4, 3, True), Segment(2, 1, True, is_crowd=True), Segment(1, 0, False), Segment(9, 2, True))
    kept, masks = classified_segments(GroundTruth(ids, segments))
    assert [s.id for s in kept] == [4, 1]
    assert torch.equal(masks, torch.stack([ids == 4, ids == 1]))
