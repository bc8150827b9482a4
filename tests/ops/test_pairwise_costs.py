"""Costs of every pair: the form with matrix products against the reference for each pair and point."""

from __future__ import annotations

import math

import pytest
import torch

from opsnet.ops.pairwise_costs import pairwise_costs, pairwise_costs_reference


def test_the_reference_by_hand() -> None:
    masks, truth = torch.tensor([[0.0, 0.0]]), torch.tensor([[1.0, 1.0], [1.0, 0.0], [0.0, 0.0]])
    bce, dice = pairwise_costs_reference(masks, truth)
    assert bce[0].tolist() == pytest.approx([math.log(2)] * 3)  # logits of 0
    assert dice[0].tolist() == pytest.approx([1 - 3 / 4, 1 - 2 / 3, 1 - 1 / 2])


@pytest.mark.parametrize("lead", [(), (2,)])
@pytest.mark.parametrize("layout", ["mask by mask", "point by point"])
def test_layers_are_the_reference_up_to_rounding(lead: tuple[int, ...], layout: str) -> None:
    torch.manual_seed(0)
    truth, layers = torch.rand(*lead, 3, 50), list(4 * torch.randn(4, *lead, 5, 50))
    if layout == "point by point":
        layers = [m.mT.contiguous().mT for m in layers]
    before = [m.clone() for m in layers]
    for found, masks in zip(pairwise_costs(layers, truth), before, strict=True):
        for cost, expected in zip(found, pairwise_costs_reference(masks, truth), strict=True):
            torch.testing.assert_close(cost, expected, atol=1e-5, rtol=1e-5)
    assert all(torch.equal(a, b) for a, b in zip(layers, before, strict=True))  # inputs are not modified


def test_reused_memory_does_not_change_the_values() -> None:
    torch.manual_seed(0)
    truth, masks = torch.rand(3, 20), torch.randn(5, 20)
    (expected,), (found,) = (
        pairwise_costs([masks], truth, scratch=scratch) for scratch in (None, torch.full_like(masks, torch.nan))
    )
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_logits_far_from_zero_stay_finite() -> None:
    masks, truth = torch.tensor([[1000.0, -1000.0]]), torch.tensor([[0.0, 1.0]])
    ((bce, dice),) = pairwise_costs([masks], truth)
    assert (bce.item(), dice.item()) == pytest.approx((1000, 1 - 1 / 3))
