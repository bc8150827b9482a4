"""The criterion: values by hand where masks are undecided everywhere, limits for perfect predictions."""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from ranks import on_two_ranks
from torch import Tensor

from opsnet.losses import criterion
from opsnet.losses.criterion import LayerPredictions, PanopticCriterion, mask_iou
from opsnet.losses.point_sampling import StepSeeds
from opsnet.structures import SegmentTargets

NAMES, SIZE, POINTS = 3, 64, 64


class Predictions(NamedTuple):
    """What one layer predicts, its masks in full."""

    logits: Tensor
    mask_logits: Tensor
    iou: Tensor


def squares() -> SegmentTargets:
    """One image with two squares of names 2 and 0, one image with one of name 1; none touches the border."""
    masks = torch.zeros(3, SIZE, SIZE, dtype=torch.bool)
    masks[0, 8:28, 8:28] = masks[1, 36:56, 36:56] = masks[2, 16:48, 16:48] = True
    return SegmentTargets([masks[:2], masks[2:]], [torch.tensor([2, 0]), torch.tensor([1])])


def perfect(targets: SegmentTargets, strength: float = 12.0) -> Predictions:
    """Three proposals an image; the targets are found by the last ones, in order. The rest is void."""
    batch = len(targets.masks)
    logits, masks, iou = (
        torch.zeros(batch, 3, NAMES + 1),
        torch.full((batch, 3, SIZE, SIZE), -1.0),
        torch.zeros(batch, 3),
    )
    logits[..., NAMES] = strength
    for i, (truth, labels) in enumerate(zip(targets.masks, targets.labels)):
        for k, (mask, label) in enumerate(zip(truth, labels), start=3 - len(labels)):
            logits[i, k] = torch.nn.functional.one_hot(label, NAMES + 1) * strength
            masks[i, k] = 2 * mask.float() - 1
            iou[i, k] = 1.0
    return Predictions(logits, strength * masks, iou)


def undecided(batch: int = 1, proposals: int = 2, iou: float = 0.5) -> Predictions:
    """Logits of zero everywhere: every expected loss is a number that can be worked out."""
    zeros = torch.zeros(batch, proposals, 8, 8)
    return Predictions(torch.zeros(batch, proposals, NAMES + 1), zeros, torch.full((batch, proposals), iou))


def one_empty_target() -> SegmentTargets:
    """A target of name 1 whose mask has no pixel: no point of it is inside, wherever it is sampled."""
    return SegmentTargets([torch.zeros(1, 8, 8, dtype=torch.bool)], [torch.tensor([1])])


def no_targets(batch: int = 1) -> SegmentTargets:
    return SegmentTargets([torch.zeros(0, 8, 8, dtype=torch.bool)] * batch, [torch.zeros(0, dtype=torch.int64)] * batch)


def losses(layers: list[Predictions], targets: SegmentTargets, **options) -> dict[str, Tensor]:
    torch.manual_seed(0)
    factored, pixels = factor(layers)
    return PanopticCriterion(**{"points": POINTS, **options})(factored, pixels, targets)


def factor(layers: list[Predictions]) -> tuple[list[LayerPredictions], Tensor]:
    """The masks of all layers as pixel embeddings, from which each proposal picks its own."""
    pixels = torch.cat([x.mask_logits for x in layers], dim=1)
    own = torch.eye(pixels.shape[1]).split([x.mask_logits.shape[1] for x in layers])
    embeds = [o.expand(len(pixels), -1, -1) for o in own]
    return [LayerPredictions(x.logits, e, x.iou) for x, e in zip(layers, embeds, strict=True)], pixels


def test_perfect_predictions_cost_nearly_nothing() -> None:
    found = losses([perfect(squares())], squares(), points=512)
    assert found["cross_entropy"] < 1e-3
    assert found["iou"] == 0.0  # so that the IoU target of each match is 1 and of the rest 0
    # Points between two pixels of an edge are never quite right.
    assert found["mask_bce"] < 0.5
    assert found["dice"] < 0.5
    inverted = perfect(squares())
    inverted = Predictions(inverted.logits, -inverted.mask_logits, inverted.iou)
    wrong = losses([inverted], squares(), points=512)
    assert wrong["mask_bce"] > 50 * found["mask_bce"]
    assert wrong["dice"] > 3.5


def test_proposals_may_stand_in_any_order() -> None:
    layer = perfect(squares())
    order = torch.tensor([1, 2, 0])
    shuffled = Predictions(layer.logits[:, order], layer.mask_logits[:, order], layer.iou[:, order])
    found = losses([shuffled], squares(), points=512)
    assert found["cross_entropy"] < 1e-3
    assert found["iou"] == 0.0


def test_class_loss_by_hand() -> None:
    # All names equally likely: log 4 whatever the target and its weight.
    assert losses([undecided()], one_empty_target())["cross_entropy"].item() == pytest.approx(2 * math.log(4))


@pytest.mark.parametrize("void_weight", [0.1, 0.5])
def test_void_counts_less_in_the_class_loss(void_weight: float) -> None:
    layer = undecided()
    layer.logits[0, :, 1] = math.log(5)  # both proposals say name 1 with 5/8, void with 1/8
    found = losses([layer], one_empty_target(), void_weight=void_weight)["cross_entropy"].item()
    assert found == pytest.approx(2 * (math.log(8 / 5) + void_weight * math.log(8)) / (1 + void_weight))


def test_mask_losses_by_hand() -> None:
    found = losses([undecided()], one_empty_target())
    assert found["mask_bce"].item() == pytest.approx(5 * math.log(2))
    assert found["dice"].item() == pytest.approx(5 * (1 - 1 / (POINTS / 2 + 1)))


def test_mask_losses_are_a_mean_over_all_targets_of_the_batch() -> None:
    empty = torch.zeros(2, 8, 8, dtype=torch.bool)
    targets = SegmentTargets([empty, empty[:0]], [torch.tensor([0, 1]), torch.tensor([], dtype=torch.int64)])
    assert losses([undecided(batch=2)], targets)["mask_bce"].item() == pytest.approx(5 * math.log(2))


def test_iou_is_regressed_to_the_match_and_to_zero() -> None:
    # The undecided mask covers the whole picture (a logit of 0 is inside), the target its upper quarter.
    mask = torch.zeros(1, 32, 32, dtype=torch.bool)  # four times finer than the prediction
    mask[0, :8] = True
    targets = SegmentTargets([mask], [torch.tensor([1])])
    layer = undecided(proposals=4, iou=0.5)
    expected = ((0.5 - 0.25) ** 2 + 3 * 0.5**2) / 4
    assert losses([layer], targets)["iou"].item() == pytest.approx(4 * expected)


def test_an_unmatched_duplicate_is_regressed_to_zero() -> None:
    mask = torch.zeros(1, 8, 8, dtype=torch.bool)
    mask[0, 2:6, 2:6] = True
    masks = (20 * mask.float() - 10).expand(1, 2, 8, 8)
    layer = Predictions(torch.zeros(1, 2, NAMES + 1), masks, torch.tensor([[1.0, 1.0]]))
    assert losses([layer], SegmentTargets([mask], [torch.tensor([0])]))["iou"].item() == pytest.approx(4 * 0.5)


@pytest.mark.parametrize(
    ("weight", "name"),
    [("class_weight", "cross_entropy"), ("bce_weight", "mask_bce"), ("dice_weight", "dice"), ("iou_weight", "iou")],
)
def test_each_weight_scales_its_own_loss(weight: str, name: str) -> None:
    # Values at the weight 1, by hand as above; the matching has no choice between proposals that are equal.
    units = {"cross_entropy": math.log(4), "mask_bce": math.log(2), "dice": 1 - 1 / (POINTS / 2 + 1), "iou": 0.25}
    options = {**dict.fromkeys(("class_weight", "bce_weight", "dice_weight", "iou_weight"), 1.0), weight: 7.0}
    found = losses([undecided()], one_empty_target(), **options)
    expected = {**units, name: 7 * units[name]}
    assert {k: v.item() for k, v in found.items() if k != "loss"} == pytest.approx(expected)
    assert found["loss"].item() == pytest.approx(sum(expected.values()))


def test_a_loss_of_weight_zero_is_kept_as_zero() -> None:
    assert losses([undecided()], one_empty_target(), iou_weight=0.0)["iou"] == 0.0


def test_deep_supervision_sums_the_layers() -> None:
    one = losses([undecided()], one_empty_target())
    three = losses([undecided()] * 3, one_empty_target())
    assert {k: v.item() for k, v in three.items()} == pytest.approx({k: 3 * v.item() for k, v in one.items()})


def test_each_layer_is_matched_for_itself() -> None:
    layer = perfect(squares())
    order = torch.tensor([2, 0, 1])
    other = Predictions(layer.logits[:, order], layer.mask_logits[:, order], layer.iou[:, order])
    found = losses([layer, other], squares(), points=512)
    assert found["cross_entropy"] < 2e-3
    assert found["iou"] == 0.0


@pytest.mark.parametrize("count", [POINTS // 2, POINTS * 2])  # fewer and more than the pixels of a mask
def test_costs_keep_full_precision_under_autocast(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    cost, seen = criterion.matching_cost, []

    def record(logits: Tensor, masks: Tensor, *rest: Tensor, **weights: float) -> Tensor:
        found = cost(logits, masks, *rest, **weights)
        seen.append({logits.dtype, masks.dtype, found.dtype})
        return found

    monkeypatch.setattr(criterion, "matching_cost", record)
    with torch.autocast("cpu", torch.bfloat16):
        losses([undecided()], one_empty_target(), points=count)
    assert seen == [{torch.float32}]


def half_empty() -> SegmentTargets:
    """A target in the first image, none in the second."""
    one, none = one_empty_target(), no_targets()
    return SegmentTargets(one.masks + none.masks, one.labels + none.labels)


@pytest.mark.parametrize("targets", [no_targets(2), half_empty()])
def test_images_without_targets_stay_finite(targets: SegmentTargets) -> None:
    layer = undecided(batch=2)
    for tensor in (layer.logits, layer.mask_logits, layer.iou):
        tensor.requires_grad_()
    found = losses([layer], targets)
    found["loss"].backward()
    assert all(value.isfinite() for value in found.values())
    for tensor in (layer.logits, layer.mask_logits, layer.iou):
        assert tensor.grad is not None and tensor.grad.isfinite().all()


def test_a_batch_without_targets_teaches_void_and_iou_only() -> None:
    found = losses([undecided()], no_targets())
    assert found["mask_bce"] == found["dice"] == 0.0
    assert found["cross_entropy"].item() == pytest.approx(2 * math.log(4))
    assert found["iou"].item() == pytest.approx(4 * 0.25)


def test_more_targets_than_proposals() -> None:
    masks = torch.rand(5, 8, 8) > 0.5
    found = losses([undecided(proposals=2)], SegmentTargets([masks], [torch.tensor([0, 1, 2, 0, 1])]))
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


def test_a_diverged_network_gives_a_loss_that_says_so() -> None:
    layer = undecided()
    layer.mask_logits.fill_(math.nan)
    assert losses([layer], one_empty_target())["loss"].isnan()


def test_mask_iou_by_hand() -> None:
    a = torch.tensor([[[1, 1, 0, 0]], [[1, 1, 1, 1]], [[1, 0, 0, 0]], [[0, 0, 0, 0]]]).bool()
    b = torch.tensor([[[0, 1, 1, 0]], [[1, 1, 1, 1]], [[0, 1, 0, 0]], [[0, 0, 0, 0]]]).bool()
    assert mask_iou(a, b).tolist() == pytest.approx([1 / 3, 1.0, 0.0, 0.0])


def loss_on_rank(rank: int) -> dict[str, Tensor]:
    """Each process has one of the two pictures of ``squares``, which hold two segments and one."""
    return loss_of_pictures([rank])


def loss_of_pictures(pictures: list[int]) -> dict[str, Tensor]:
    """Losses of two layers of random predictions, and the gradient of all logits; of these pictures of two."""
    torch.manual_seed(3)
    layers = [(torch.randn(2, 5, NAMES + 1), torch.randn(2, 5, 16, 16), torch.rand(2, 5)) for _ in range(2)]
    own = [Predictions(*(x[pictures] for x in layer)) for layer in layers]
    logits = [x.logits.requires_grad_() for x in own]
    targets, ids = squares(), ("a.png", 7)
    chosen = SegmentTargets([targets.masks[i] for i in pictures], [targets.labels[i] for i in pictures])
    seeds = StepSeeds.of(0, 5, [ids[i] for i in pictures])
    found = PanopticCriterion(points=POINTS, class_normalization="global")(*factor(own), chosen, seeds)
    found["loss"].backward()
    return {**{k: v.detach() for k, v in found.items()}, "gradient": torch.stack([z.grad for z in logits], dim=1)}


def test_ranks_with_a_picture_each_average_to_the_loss_of_both(tmp_path: Path) -> None:
    first, second = on_two_ranks(loss_on_rank, tmp_path)
    whole = loss_of_pictures([0, 1])
    gradient = torch.cat((first.pop("gradient"), second.pop("gradient"))) / 2
    torch.testing.assert_close(gradient, whole.pop("gradient"))
    for name, value in whole.items():
        assert first[name] != second[name]
        torch.testing.assert_close((first[name] + second[name]) / 2, value)


def test_an_unknown_normalization_is_refused() -> None:
    with pytest.raises(ValueError, match="class_normalization must be 'rank' or 'global', got 'image'"):
        PanopticCriterion(class_normalization="image")
