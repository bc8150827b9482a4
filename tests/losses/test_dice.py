"""Dice, computed by hand."""

from __future__ import annotations

import pytest
from segment_losses import POINTS, Predictions, no_targets, one_empty_target, perfect, squares, uncertain, value

from opsnet.losses.dice import Dice

LOSS = Dice(weight=5.0)


def test_uncertain_masks() -> None:
    assert value(LOSS, [uncertain()], one_empty_target()) == pytest.approx(1 - 1 / (POINTS / 2 + 1))


def test_inverted_masks_cost_much_more_than_perfect_ones() -> None:
    right = perfect(squares())
    assert value(LOSS, [right], squares(), points=512) < 0.1
    inverted = Predictions(right.logits, -right.mask_logits, right.iou)
    assert value(LOSS, [inverted], squares(), points=512) > 0.7


def test_it_is_empty_without_segments() -> None:
    assert value(LOSS, [uncertain()], no_targets()) == 0
