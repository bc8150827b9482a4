"""Equations 1 and 2 by hand, and what they do at their edges."""

from __future__ import annotations

import math

import pytest
import torch
from ranks import on_two_ranks

from opsnet.losses.decoupled_supervision import (
    DecoupledSupervision,
    image_label_matching_loss,
    inside_padding,
    mask_sum_loss,
)

LN2, LN3 = math.log(2), math.log(3)
# One image, two proposals, three names: softmax rows (1/2, 1/4, 1/4) and (1/5, 3/5, 1/5).
LOGITS = torch.tensor([[[LN2, 0.0, 0.0], [0.0, LN3, 0.0]]])
BOTH = torch.tensor([[True, True]])


def matching(logits=LOGITS, valid=BOTH, labels=((0, 1),), form="probability") -> float:
    tensors = [torch.tensor(found, dtype=torch.int64) for found in labels]
    return float(image_label_matching_loss(logits, valid, tensors, form=form))


# --- equation 1 -------------------------------------------------------------------------------------------------------


def test_each_label_takes_the_proposal_that_is_surest_of_it() -> None:
    assert matching() == pytest.approx(1 - (1 / 2 + 3 / 5) / 2)
    assert matching(labels=((2,),)) == pytest.approx(1 - 1 / 4)
    assert matching(form="log") == pytest.approx(-(math.log(1 / 2) + math.log(3 / 5)) / 2)


def test_a_proposal_that_is_not_valid_cannot_satisfy_a_label() -> None:
    assert matching(valid=torch.tensor([[True, False]])) == pytest.approx(1 - (1 / 2 + 1 / 4) / 2)


def test_a_label_that_is_repeated_counts_once() -> None:
    assert matching(labels=((0, 0, 1, 0),)) == pytest.approx(matching())


def test_further_masks_of_a_name_and_names_without_a_label_cost_nothing() -> None:
    twice = torch.cat((LOGITS, LOGITS), dim=1)
    assert matching(twice, torch.ones(1, 4, dtype=torch.bool)) == pytest.approx(matching())
    assert matching(labels=((0,),)) == pytest.approx(1 - 1 / 2)  # that the other proposal says 1 is no mistake


def test_images_without_a_label_or_a_valid_proposal_do_not_count() -> None:
    logits, valid = LOGITS.repeat(3, 1, 1), torch.tensor([[True, True], [True, True], [False, False]])
    assert matching(logits, valid, ((0, 1), (), (0,))) == pytest.approx(matching())


@pytest.mark.parametrize("form", ["probability", "log"])
def test_where_no_image_counts_the_loss_is_nought_and_so_is_its_gradient(form) -> None:
    logits = LOGITS.repeat(2, 1, 1).requires_grad_()
    none, labels = (
        torch.tensor([[True, True], [False, False]]),
        [torch.tensor([], dtype=torch.int64), torch.tensor([1])],
    )
    loss = image_label_matching_loss(logits, none, labels, form=form)
    loss.backward()
    assert float(loss.detach()) == 0
    assert logits.grad.abs().max() == 0


@pytest.mark.parametrize("form", ["probability", "log"])
def test_gradients_stay_finite_where_a_name_is_out_of_reach(form) -> None:
    logits = torch.tensor([[[100.0, -100.0], [100.0, -100.0]]], requires_grad=True)  # cosines of 1 and -1
    image_label_matching_loss(logits, BOTH, [torch.tensor([1])], form=form).backward()
    assert torch.isfinite(logits.grad).all()
    assert (logits.grad.abs().sum() > 1) == (form == "log")  # only the logarithm still pulls at it


@pytest.mark.parametrize("form", ["probability", "log"])
def test_the_matching_losss_gradient_is_that_of_its_value(form) -> None:
    logits = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True, generator=torch.Generator().manual_seed(0))
    valid = torch.tensor([[True, False, True], [True, True, True]])
    labels = [torch.tensor([0, 3]), torch.tensor([2])]
    assert torch.autograd.gradcheck(lambda x: image_label_matching_loss(x, valid, labels, form=form), logits)


def loss_of_rank(rank: int) -> torch.Tensor:
    """Two images with a label on the first rank, one with and one without on the second."""
    labels = [[torch.tensor([0]), torch.tensor([1])], [torch.tensor([2]), torch.tensor([], dtype=torch.int64)]][rank]
    return image_label_matching_loss(LOGITS.repeat(2, 1, 1), BOTH.repeat(2, 1), labels)


def test_the_mean_over_ranks_is_the_loss_of_all_their_images(tmp_path) -> None:
    first, second = on_two_ranks(loss_of_rank, tmp_path)
    assert float(first + second) / 2 == pytest.approx((1 / 2 + 2 / 5 + 3 / 4) / 3)


# --- equation 2 -------------------------------------------------------------------------------------------------------


def test_the_sum_loss_measures_what_the_masks_lack_and_overlap() -> None:
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


def test_the_padding_does_not_count() -> None:
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


def test_what_lies_in_the_image_and_what_in_its_padding() -> None:
    # Mask pixels of four image pixels: their centres lie at 2, 6 and 10.
    inside = inside_padding([(12, 12), (7, 6), (6, 2)], (12, 12), torch.zeros(3, 1, 3, 3))
    assert inside.sum((1, 2)).tolist() == [9, 2, 0]
    assert inside[1].tolist() == [[True, False, False], [True, False, False], [False, False, False]]


# --- both -------------------------------------------------------------------------------------------------------------


def test_both_losses_carry_their_weights_and_the_threshold_chooses_the_proposals() -> None:
    iou, masks = torch.tensor([[0.6, 0.5]]), torch.zeros(1, 2, 1, 1)
    masks[0, 0] = 50.0  # sums of 3/2
    given = (LOGITS, iou, masks, [torch.tensor([0, 1])], torch.ones(1, 1, 1, dtype=torch.bool))
    losses = DecoupledSupervision(match_weight=2.0, iou_threshold=0.5)(*given)
    assert float(losses["image_label_matching"]) == pytest.approx(2 * (1 - (1 / 2 + 1 / 4) / 2))
    assert float(losses["mask_sum"]) == pytest.approx(0.4 * 0.5)
    assert float(losses["loss"]) == pytest.approx(float(losses["image_label_matching"] + losses["mask_sum"]))
    assert set(DecoupledSupervision(sum_weight=0)(*given)) == {"image_label_matching", "loss"}
    assert set(DecoupledSupervision(match_weight=0)(*given)) == {"mask_sum", "loss"}


def test_the_predicted_iou_learns_nothing_from_labels() -> None:
    iou = torch.full((1, 2), 0.9, requires_grad=True)
    given = (LOGITS.clone().requires_grad_(), iou, torch.zeros(1, 2, 1, 1), [torch.tensor([0])])
    DecoupledSupervision()(*given, torch.ones(1, 1, 1, dtype=torch.bool))["loss"].backward()
    assert iou.grad is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"form": "max"}, "form must be one of probability, log, .* got 'max'"),
        ({"reduction": "mean"}, "reduction one of rms, norm, got .* 'mean'"),
        ({"match_weight": -1}, "must not be negative"),
        ({"match_weight": 0, "sum_weight": 0}, "not both 0"),
    ],
)
def test_options_that_make_no_sense(options, message) -> None:
    with pytest.raises(ValueError, match=message):
        DecoupledSupervision(**options)
