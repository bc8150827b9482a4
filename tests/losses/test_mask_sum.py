"""Equation 2, by hand and in edge cases."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch

from opsnet.losses.mask_sum import MaskSum, mask_sum_loss

LN3 = math.log(3)


def test_the_sum_loss_measures_gaps_and_overlaps() -> None:
    # One half each: sums of 1 everywhere. Three such masks: half too much at each of four pixels.
    inside = torch.ones(1, 2, 2, dtype=torch.bool)
    assert float(mask_sum_loss(torch.zeros(1, 2, 2, 2), inside)) == 0
    assert float(mask_sum_loss(torch.zeros(1, 3, 2, 2), inside)) == pytest.approx(0.5)
    assert float(mask_sum_loss(torch.zeros(1, 3, 2, 2), inside, reduction="norm")) == pytest.approx(1.0)
    # Probabilities 3/4 at one pixel and 1/4 at the next, of one mask: 1/4 and 3/4 are missing.
    one = torch.tensor([[[[LN3, -LN3]]]])
    assert float(mask_sum_loss(one, inside[:, :1])) == pytest.approx(math.sqrt((1 / 16 + 9 / 16) / 2))


def test_masks_of_one_pixel() -> None:
    inside = torch.ones(2, 1, 1, dtype=torch.bool)
    masks = torch.tensor([LN3, -LN3]).view(2, 1, 1, 1)
    assert float(mask_sum_loss(masks, inside)) == pytest.approx((1 / 4 + 3 / 4) / 2)  # the mean over the images


def test_padding_is_ignored() -> None:
    masks = torch.zeros(1, 3, 2, 2)
    masks[..., 1] = 50.0  # three masks over the padding
    inside = torch.tensor([[[True, False], [True, False]]])
    assert float(mask_sum_loss(masks, inside)) == pytest.approx(0.5)
    assert float(mask_sum_loss(masks, inside, reduction="norm")) == pytest.approx(math.sqrt(2) / 2)


def test_the_gradient_of_a_perfect_layout_is_finite() -> None:
    masks = torch.zeros(1, 2, 2, 2, requires_grad=True)
    mask_sum_loss(masks, torch.ones(1, 2, 2, dtype=torch.bool)).backward()
    assert masks.grad.abs().max() == 0


@pytest.mark.parametrize("reduction", ["rms", "norm"])
def test_the_sum_losss_gradient_is_that_of_its_value(reduction) -> None:
    masks = torch.randn(2, 3, 2, 3, dtype=torch.float64, requires_grad=True, generator=torch.Generator().manual_seed(0))
    inside = torch.tensor([[[True, True, False]] * 2, [[True] * 3, [False] * 3]])
    assert torch.autograd.gradcheck(lambda x: mask_sum_loss(x, inside, reduction=reduction), masks)


@pytest.mark.parametrize(("reduction", "expected"), [("rms", 0.5), ("norm", 1.0)])
def test_the_loss_reads_the_masks_of_the_last_layer_inside_the_images(reduction, expected) -> None:
    masks, inside = torch.zeros(1, 3, 2, 3), torch.ones(1, 2, 3, dtype=torch.bool)
    masks[..., 2], inside[..., 2] = 50.0, False
    context = SimpleNamespace(proposals=SimpleNamespace(mask_logits=masks), inside=inside)
    assert float(MaskSum(weight=0.4, reduction=reduction)(context)) == pytest.approx(expected)


def test_an_unknown_reduction_is_refused() -> None:
    with pytest.raises(ValueError, match="reduction must be one of rms, norm, got 'mean'"):
        MaskSum(weight=0.4, reduction="mean")
