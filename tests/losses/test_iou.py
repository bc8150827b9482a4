"""The regression of the predicted IoU, computed by hand."""

from __future__ import annotations

import pytest
import torch
from segment_losses import NAMES, Predictions, no_targets, uncertain, value

from opsnet.losses.iou import IoURegression, mask_iou
from opsnet.structures import SegmentTargets

LOSS = IoURegression(weight=4.0)


def test_targets_are_the_iou_of_the_match_and_zero() -> None:
    # The mask of zero logits covers the whole image (a logit of 0 is inside), the target its upper quarter.
    mask = torch.zeros(1, 32, 32, dtype=torch.bool)  # four times finer than the prediction
    mask[0, :8] = True
    targets = SegmentTargets([mask], [torch.tensor([1])])
    layer = uncertain(proposals=4, iou=0.5)
    assert value(LOSS, [layer], targets) == pytest.approx(((0.5 - 0.25) ** 2 + 3 * 0.5**2) / 4)


def test_an_unmatched_duplicate_is_regressed_to_zero() -> None:
    mask = torch.zeros(1, 8, 8, dtype=torch.bool)
    mask[0, 2:6, 2:6] = True
    masks = (20 * mask.float() - 10).expand(1, 2, 8, 8)
    layer = Predictions(torch.zeros(1, 2, NAMES + 1), masks, torch.tensor([[1.0, 1.0]]))
    assert value(LOSS, [layer], SegmentTargets([mask], [torch.tensor([0])])) == pytest.approx(0.5)


def test_without_segments_all_are_regressed_to_zero() -> None:
    assert value(LOSS, [uncertain()], no_targets()) == pytest.approx(0.25)


def test_mask_iou_by_hand() -> None:
    a = torch.tensor([[[1, 1, 0, 0]], [[1, 1, 1, 1]], [[1, 0, 0, 0]], [[0, 0, 0, 0]]]).bool()
    b = torch.tensor([[[0, 1, 1, 0]], [[1, 1, 1, 1]], [[0, 1, 0, 0]], [[0, 0, 0, 0]]]).bool()
    assert mask_iou(a, b).tolist() == pytest.approx([1 / 3, 1.0, 0.0, 0.0])
