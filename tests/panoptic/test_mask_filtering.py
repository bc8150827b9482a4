"""Mask Filtering: the three scores by hand."""

from __future__ import annotations

import math

import pytest
import torch

from opsnet.panoptic.mask_filtering import MaskFiltering

# Three proposals, two names. exp(logits): (3, 1), (1, 1), (1, 4); no-object: 1, 6, 5.
LOGITS = torch.tensor([[3.0, 1.0], [1.0, 1.0], [1.0, 4.0]]).log()[None]
NO_OBJECT = torch.tensor([1.0, 6.0, 5.0]).log()[None]
IOU = torch.tensor([[0.5, 0.9, 0.2]])


def filtered(kind: str, threshold: float = 0.0) -> tuple[list[float], list[int], list[bool]]:
    scores, labels, keep = MaskFiltering(kind=kind, threshold=threshold)(LOGITS, NO_OBJECT, IOU)
    return scores[0].tolist(), labels[0].tolist(), keep[0].tolist()


def test_class_score_has_no_object_as_a_rival() -> None:
    scores, labels, keep = filtered("cls")
    assert scores == pytest.approx([3 / 5, 0.0, 0.0])  # the other two are no object, however likely the best name is
    assert labels[::2] == [0, 1]
    assert keep == [True, False, False]


def test_predicted_iou_alone() -> None:
    scores, labels, keep = filtered("iou", threshold=0.4)
    assert scores == pytest.approx([0.5, 0.9, 0.2])
    assert labels[::2] == [0, 1]
    assert keep == [True, True, False]


def test_the_product_of_class_score_and_iou() -> None:
    scores, labels, keep = filtered("cls_iou", threshold=0.1)
    assert scores == pytest.approx([3 / 5 * 0.5, 1 / 8 * 0.9, 4 / 10 * 0.2])  # kept though no-object is likelier
    assert labels[::2] == [0, 1]
    assert keep == [True, True, False]


@pytest.mark.parametrize("kind", ["cls", "iou", "cls_iou"])
def test_scores_are_probabilities_however_large_the_logits(kind: str) -> None:
    torch.manual_seed(0)
    logits, no_object, iou = 1000 * torch.randn(2, 30, 7), 1000 * torch.randn(2, 30), torch.rand(2, 30)
    scores, labels, keep = MaskFiltering(kind=kind)(logits, no_object, iou)
    assert ((scores >= 0) & (scores <= 1)).all()
    assert torch.equal(labels, logits.argmax(-1))
    assert scores.shape == labels.shape == keep.shape == (2, 30)


def test_a_higher_threshold_keeps_less() -> None:
    assert sum(filtered("iou", threshold=0.1)[2]) == 3
    assert sum(filtered("iou", threshold=0.6)[2]) == 1
    assert sum(filtered("iou", threshold=0.95)[2]) == 0


def test_one_name_has_no_object_as_its_only_rival() -> None:
    scores, _, _ = MaskFiltering(kind="cls")(
        torch.tensor([[[0.0]]]), torch.tensor([[-math.log(4)]]), torch.tensor([[0.6]])
    )
    assert scores.item() == pytest.approx(0.8)


def test_an_unknown_kind_names_the_known() -> None:
    with pytest.raises(ValueError, match="filtering.kind must be one of cls, iou, cls_iou, got 'class'"):
        MaskFiltering(kind="class")
