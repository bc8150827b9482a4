"""Predictions matched with segments, and all losses on them at once: layers, ranks, edges."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from ranks import on_two_ranks
from segment_losses import (
    NAMES,
    POINTS,
    Predictions,
    half_empty,
    mask2former_losses,
    matched,
    no_targets,
    one_empty_target,
    perfect,
    squares,
    uncertain,
)
from torch import Tensor

from opsnet.losses.point_sampling import StepSeeds
from opsnet.structures import SegmentTargets


def losses(layers: list[Predictions], targets: SegmentTargets, points: int = POINTS) -> dict[str, Tensor]:
    return mask2former_losses()(matched(layers, targets, points))


def test_matches_hold_image_proposal_and_segment() -> None:
    found = matched([perfect(squares())], squares(), points=512)
    (match,) = found.matches
    assert match.T.tolist() == [[0, 1, 0], [0, 2, 1], [1, 2, 2]]
    assert (found.proposals_per_image, found.matches_per_image) == (3, [2, 1])
    assert found.labels.tolist() == [2, 0, 1]
    assert torch.equal(found.masks[0] > 0, torch.cat(squares().masks))
    assert torch.equal(found.truth_of_masks, torch.cat(squares().masks))


def test_proposals_may_stand_in_any_order() -> None:
    layer = perfect(squares())
    order = torch.tensor([1, 2, 0])
    shuffled = Predictions(layer.logits[:, order], layer.mask_logits[:, order], layer.iou[:, order])
    found = losses([shuffled], squares(), points=512)
    assert found["cross_entropy"] < 1e-3
    assert found["iou"] == 0.0  # so that the IoU target of each match is 1 and of the rest 0


def test_deep_supervision_sums_the_layers() -> None:
    one = losses([uncertain()], one_empty_target())
    three = losses([uncertain()] * 3, one_empty_target())
    assert {k: v.item() for k, v in three.items()} == pytest.approx({k: 3 * v.item() for k, v in one.items()})


def test_each_layer_is_matched_separately() -> None:
    layer = perfect(squares())
    order = torch.tensor([2, 0, 1])
    other = Predictions(layer.logits[:, order], layer.mask_logits[:, order], layer.iou[:, order])
    found = losses([layer, other], squares(), points=512)
    assert found["cross_entropy"] < 2e-3
    assert found["iou"] == 0.0


def test_the_mask_losses_use_the_same_points() -> None:
    found = matched([perfect(squares())], squares())
    assert found.sampled_masks is found.sampled_masks
    assert [x.logits.shape for x in found.sampled_masks] == [(3, POINTS)]


@pytest.mark.parametrize("targets", [no_targets(2), half_empty()])
def test_images_without_targets_stay_finite(targets: SegmentTargets) -> None:
    layer = uncertain(batch=2)
    for tensor in (layer.logits, layer.mask_logits, layer.iou):
        tensor.requires_grad_()
    found = losses([layer], targets)
    found["loss"].backward()
    assert all(value.isfinite() for value in found.values())
    for tensor in (layer.logits, layer.mask_logits, layer.iou):
        assert tensor.grad is not None and tensor.grad.isfinite().all()


def test_a_batch_without_targets_teaches_no_object_and_iou_only() -> None:
    found = losses([uncertain()], no_targets())
    assert found["mask_bce"] == found["dice"] == 0.0
    assert found["cross_entropy"].item() == pytest.approx(2 * math.log(4))
    assert found["iou"].item() == pytest.approx(4 * 0.25)


def test_more_targets_than_proposals() -> None:
    masks = torch.rand(5, 8, 8) > 0.5
    found = losses([uncertain(proposals=2)], SegmentTargets([masks], [torch.tensor([0, 1, 2, 0, 1])]))
    assert all(value.isfinite() for value in found.values())


@pytest.mark.parametrize("extreme", [1.0, 1e4])
def test_gradients_are_finite_and_reach_every_prediction(extreme: float) -> None:
    torch.manual_seed(1)
    leaves = [
        (extreme * torch.randn(2, 3, NAMES + 1)).requires_grad_(),
        (extreme * torch.randn(2, 3, 16, 16)).requires_grad_(),
        torch.rand(2, 3).requires_grad_(),
    ]
    losses([Predictions(*leaves)], squares())["loss"].backward()
    assert all(leaf.grad.isfinite().all() for leaf in leaves)
    if extreme == 1.0:
        assert all((leaf.grad != 0).any() for leaf in leaves)


def test_a_diverged_network_has_a_loss_that_is_not_finite() -> None:
    layer = uncertain()
    layer.mask_logits.fill_(math.nan)
    assert losses([layer], one_empty_target())["loss"].isnan()


def loss_on_rank(rank: int) -> dict[str, Tensor]:
    """Each process has one of the two images of ``squares``, with two segments and one."""
    return loss_of_images([rank])


def loss_of_images(images: list[int]) -> dict[str, Tensor]:
    """Losses of two layers of random predictions and the gradient of all logits, for these of the two images."""
    torch.manual_seed(3)
    layers = [(torch.randn(2, 5, NAMES + 1), torch.randn(2, 5, 16, 16), torch.rand(2, 5)) for _ in range(2)]
    own = [Predictions(*(x[images] for x in layer)) for layer in layers]
    logits = [x.logits.requires_grad_() for x in own]
    targets, ids = squares(), ("a.png", 7)
    chosen = SegmentTargets([targets.masks[i] for i in images], [targets.labels[i] for i in images])
    seeds = StepSeeds.of(0, 5, [ids[i] for i in images])
    found = mask2former_losses("global")(matched(own, chosen, seeds=seeds))
    found["loss"].backward()
    return {**{k: v.detach() for k, v in found.items()}, "gradient": torch.stack([z.grad for z in logits], dim=1)}


def test_ranks_with_an_image_each_average_to_the_loss_of_both(tmp_path: Path) -> None:
    first, second = on_two_ranks(loss_on_rank, tmp_path)
    whole = loss_of_images([0, 1])
    gradient = torch.cat((first.pop("gradient"), second.pop("gradient"))) / 2
    torch.testing.assert_close(gradient, whole.pop("gradient"))
    for name, value in whole.items():
        assert first[name] != second[name]
        torch.testing.assert_close((first[name] + second[name]) / 2, value)
