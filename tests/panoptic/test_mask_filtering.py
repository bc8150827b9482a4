"""Mask Filtering: the three scores, computed by hand."""

from __future__ import annotations

import math

import pytest
import torch

from opsnet.panoptic.mask_filtering import MaskFiltering
from opsnet.panoptic.merge import merge_panoptic

# Three proposals, two names. exp(logits): (3, 1), (1, 1), (1, 4); no-object: 1, 6, 5.
LOGITS = torch.tensor([[3.0, 1.0], [1.0, 1.0], [1.0, 4.0]]).log()[None]
NO_OBJECT = torch.tensor([1.0, 6.0, 5.0]).log()[None]
IOU = torch.tensor([[0.5, 0.9, 0.2]])


def filtered(kind: str, threshold: float = 0.0) -> tuple[list[float], list[int], list[bool]]:
    scores, labels, keep, merge_scores = MaskFiltering(kind=kind, threshold=threshold)(LOGITS, NO_OBJECT, IOU)
    assert torch.equal(merge_scores, scores)  # the paper's: one score for both
    return scores[0].tolist(), labels[0].tolist(), keep[0].tolist()


def test_the_class_score_includes_no_object_in_the_softmax() -> None:
    scores, labels, keep = filtered("cls")
    assert scores == pytest.approx([3 / 5, 1 / 8, 4 / 10])
    assert labels[::2] == [0, 1]
    assert keep == [True, False, False]  # the other two are no-object, however likely the best name is


def test_predicted_iou_only() -> None:
    scores, labels, keep = filtered("iou", threshold=0.4)
    assert scores == pytest.approx([0.5, 0.9, 0.2])
    assert labels[::2] == [0, 1]
    assert keep == [True, True, False]


def test_the_product_of_class_score_and_iou() -> None:
    scores, labels, keep = filtered("cls_iou", threshold=0.1)
    assert scores == pytest.approx([3 / 5 * 0.5, 1 / 8 * 0.9, 4 / 10 * 0.2])  # kept although no-object is more likely
    assert labels[::2] == [0, 1]
    assert keep == [True, True, False]


@pytest.mark.parametrize("kind", ["cls", "iou", "cls_iou"])
def test_scores_are_probabilities_however_large_the_logits(kind: str) -> None:
    torch.manual_seed(0)
    logits, no_object, iou = 1000 * torch.randn(2, 30, 7), 1000 * torch.randn(2, 30), torch.rand(2, 30)
    scores, labels, keep, _ = MaskFiltering(kind=kind)(logits, no_object, iou)
    assert ((scores >= 0) & (scores <= 1)).all()
    assert torch.equal(labels, logits.argmax(-1))
    assert scores.shape == labels.shape == keep.shape == (2, 30)


@pytest.mark.parametrize("kind", ["cls", "iou", "cls_iou"])
@pytest.mark.parametrize(("drop", "kept"), [(True, [True, False, False]), (False, [True, True, True])])
def test_proposals_that_no_object_wins_are_dropped_or_not(kind: str, drop: bool, kept: list[bool]) -> None:
    found = MaskFiltering(kind=kind, threshold=0, drop_no_object=drop)(LOGITS, NO_OBJECT, IOU)
    assert found.keep[0].tolist() == kept


def test_kept_proposals_may_compete_with_another_score() -> None:
    found = MaskFiltering(kind="cls_iou", threshold=0.1, compete="cls")(LOGITS, NO_OBJECT, IOU)
    assert found.keep[0].tolist() == [True, True, False]  # 0.3, 0.1125, 0.08
    assert found.scores[0].tolist() == pytest.approx([0.3, 0.1125, 0.08])
    assert found.merge_scores[0].tolist() == pytest.approx([3 / 5, 1 / 8, 4 / 10])


def test_a_thin_mask_of_low_iou_keeps_its_pixels_if_class_scores_compete() -> None:
    """A pole in front of a wall, both with confident classes: 0.9 x 0.3 against 0.9 x 0.95 at the pole's two pixels."""
    no_object, iou = torch.full((1, 2), -30.0), torch.tensor([[0.3, 0.95]])
    logits = torch.tensor([[[9.0, 1.0], [1.0, 9.0]]]).log()
    masks = torch.tensor([[[0.9, 0.9, 0.1, 0.1]], [[0.6, 0.6, 0.9, 0.9]]])  # pole, wall
    ids = {}
    for compete in (None, "cls"):
        found = MaskFiltering(kind="cls_iou", threshold=0.05, compete=compete)(logits, no_object, iou)
        scores, labels, keep, merge_scores = (values[0] for values in found)
        assert keep.tolist() == [True, True]
        merged = merge_panoptic(masks, scores, labels, keep, (True, False), merge_scores=merge_scores, overlap=0.5)
        ids[compete] = [(s.label, s.area, round(s.score, 3)) for s in merged.segments]
    # 0.9 x 0.3 x 0.9 = 0.243 against 0.9 x 0.95 x 0.6 = 0.513: the wall takes the pole's pixels
    assert ids[None] == [(1, 4, 0.855)]
    # 0.9 x 0.9 = 0.81 against 0.9 x 0.6 = 0.54; the segments still report the score of the threshold
    assert ids["cls"] == [(0, 2, 0.27), (1, 2, 0.855)]


@pytest.mark.parametrize("kind", ["cls", "iou"])
def test_it_is_rebuilt_from_its_settings(kind: str) -> None:
    first = MaskFiltering(kind=kind, threshold=0.25, compete="cls_iou", drop_no_object=kind == "iou")
    assert first.settings() == MaskFiltering(**first.settings()).settings()
    assert MaskFiltering(kind=kind).settings()["drop_no_object"] == (kind == "cls")


def test_a_higher_threshold_keeps_less() -> None:
    assert sum(filtered("iou", threshold=0.1)[2]) == 3
    assert sum(filtered("iou", threshold=0.6)[2]) == 1
    assert sum(filtered("iou", threshold=0.95)[2]) == 0


def test_a_single_name_competes_with_no_object_only() -> None:
    found = MaskFiltering(kind="cls")(torch.tensor([[[0.0]]]), torch.tensor([[-math.log(4)]]), torch.tensor([[0.6]]))
    assert found.scores.item() == pytest.approx(0.8)


def test_an_unknown_kind_lists_the_valid_ones() -> None:
    with pytest.raises(ValueError, match="filtering.kind must be one of cls, iou, cls_iou, got 'class'"):
        MaskFiltering(kind="class")
    with pytest.raises(ValueError, match="filtering.compete must be one of cls, iou, cls_iou, got 'no'"):
        MaskFiltering(compete="no")


@pytest.mark.parametrize("threshold", [-0.1, 1.5, 50, math.nan, math.inf])
def test_a_threshold_that_would_keep_all_or_nothing_is_refused(threshold: float) -> None:
    with pytest.raises(ValueError, match=rf"filtering\.threshold must lie in 0\.\.1, got {threshold}"):
        MaskFiltering(threshold=threshold)
