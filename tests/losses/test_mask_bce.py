"""Binary cross-entropy of masks, computed by hand."""

from __future__ import annotations

import math

import pytest
import torch
from segment_losses import Predictions, no_targets, one_empty_target, perfect, squares, uncertain, value

from opsnet.losses.mask_bce import MaskBCE
from opsnet.structures import SegmentTargets

LOSS = MaskBCE(weight=5.0)


def test_uncertain_masks() -> None:
    assert value(LOSS, [uncertain()], one_empty_target()) == pytest.approx(math.log(2))


def test_a_mean_over_all_segments_of_the_batch() -> None:
    empty = torch.zeros(2, 8, 8, dtype=torch.bool)
    targets = SegmentTargets([empty, empty[:0]], [torch.tensor([0, 1]), torch.tensor([], dtype=torch.int64)])
    assert value(LOSS, [uncertain(batch=2)], targets) == pytest.approx(math.log(2))


def test_inverted_masks_cost_much_more_than_perfect_ones() -> None:
    right = perfect(squares())
    found = value(LOSS, [right], squares(), points=512)
    assert found < 0.1  # points between two pixels of an edge are never exact
    inverted = Predictions(right.logits, -right.mask_logits, right.iou)
    assert value(LOSS, [inverted], squares(), points=512) > 50 * found


def test_it_is_empty_without_segments() -> None:
    assert value(LOSS, [uncertain()], no_targets()) == 0
