"""Matching: the cost against its definition, and the cheapest assignment by hand."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import pytest
import torch
from segment_losses import POINTS, factor, matched, one_empty_target, uncertain
from torch import Tensor

from opsnet.losses import matching
from opsnet.losses.matching import HungarianMatcher, hungarian, matching_cost
from opsnet.losses.point_sampling import StepSeeds
from opsnet.losses.predictions import MatchedPredictions

WEIGHTS = {"class_weight": 2.0, "bce_weight": 5.0, "dice_weight": 3.0}


def random_case(seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Five proposals over four names and no-object, three targets, 20 points, soft ground truth."""
    generator = torch.Generator().manual_seed(seed)
    logits, masks = torch.randn(5, 5, generator=generator), 3 * torch.randn(5, 20, generator=generator)
    return logits, masks, torch.tensor([2, 0, 2]), torch.rand(3, 20, generator=generator)


def slow_cost(
    logits: Tensor, masks: Tensor, labels: Tensor, truth: Tensor, weights: dict[str, float]
) -> list[list[float]]:
    """One pair and one point at a time."""
    costs = []
    for k in range(len(logits)):
        row = []
        exponentials = [math.exp(x) for x in logits[k].tolist()]
        for g, label in enumerate(labels.tolist()):
            inside = [1 / (1 + math.exp(-x)) for x in masks[k].tolist()]
            pairs = list(zip(inside, truth[g].tolist()))
            bce = sum(-t * math.log(p) - (1 - t) * math.log(1 - p) for p, t in pairs) / len(pairs)
            dice = 1 - (2 * sum(p * t for p, t in pairs) + 1) / (
                sum(p for p, _ in pairs) + sum(t for _, t in pairs) + 1
            )
            name = -exponentials[label] / sum(exponentials)
            row.append(weights["class_weight"] * name + weights["bce_weight"] * bce + weights["dice_weight"] * dice)
        costs.append(row)
    return costs


@pytest.mark.parametrize("seed", range(3))
def test_cost_is_its_definition(seed: int) -> None:
    cost = matching_cost(*random_case(seed), **WEIGHTS)
    assert cost.shape == (5, 3)
    torch.testing.assert_close(cost, torch.tensor(slow_cost(*random_case(seed), WEIGHTS)), rtol=1e-4, atol=1e-4)


def test_a_batch_costs_what_its_images_cost() -> None:
    cases = [random_case(seed) for seed in range(3)]
    batch = matching_cost(*(torch.stack(parts) for parts in zip(*cases, strict=True)), **WEIGHTS)
    torch.testing.assert_close(batch, torch.stack([matching_cost(*case, **WEIGHTS) for case in cases]))


@pytest.mark.parametrize(
    ("only", "expected"), [("class_weight", -0.75), ("bce_weight", math.log(2)), ("dice_weight", 1 - 3 / 4)]
)
def test_each_term_by_hand(only: str, expected: float) -> None:
    logits = torch.tensor([[3.0, 1.0]]).log()  # probability 3/4 of name 0
    masks, truth = torch.zeros(1, 2), torch.ones(1, 2)  # logits of 0, all inside: (2 * 1 + 1) / (1 + 2 + 1)
    weights = {**dict.fromkeys(WEIGHTS, 0.0), only: 2.0}
    cost = matching_cost(logits, masks, torch.tensor([0]), truth, **weights)
    assert cost.item() == pytest.approx(2 * expected)


def test_logits_far_from_zero_stay_finite() -> None:
    cost = matching_cost(
        torch.zeros(1, 2), torch.tensor([[1000.0, -1000.0]]), torch.tensor([0]), torch.tensor([[0.0, 1.0]]), **WEIGHTS
    )
    assert cost.item() == pytest.approx(-2 * 0.5 + 5 * 1000 + 3 * (1 - 1 / 3))


def test_the_cheapest_pairs_overall_win() -> None:
    # Greedily proposal 0 would take target 0 for 1, which leaves 9 for the other; 2 + 3 is cheaper.
    (match,) = hungarian([torch.tensor([[1.0, 2.0], [3.0, 9.0]])])
    assert match.proposals.tolist() == [0, 1]
    assert match.targets.tolist() == [1, 0]


def test_every_target_finds_a_proposal() -> None:
    cost = torch.tensor([[5.0, 5.0], [1.0, 9.0], [9.0, 9.0], [2.0, 0.5]])
    (match,) = hungarian([cost])
    assert list(zip(match.proposals.tolist(), match.targets.tolist())) == [(1, 0), (3, 1)]


def test_more_targets_than_proposals() -> None:
    (match,) = hungarian([torch.tensor([[3.0, 1.0, 2.0]])])
    assert (match.proposals.tolist(), match.targets.tolist()) == ([0], [1])


def test_images_are_matched_apart_and_one_may_be_empty() -> None:
    first, second = hungarian([torch.tensor([[1.0], [0.0]]), torch.zeros(4, 0)])
    assert first.proposals.tolist() == [1]
    assert second.proposals.tolist() == second.targets.tolist() == []
    assert second.proposals.dtype == second.targets.dtype == torch.int64  # they index


@pytest.mark.parametrize("worst", [math.nan, math.inf])
def test_a_cost_that_is_not_finite_counts_as_very_large(worst: float) -> None:
    (match,) = hungarian([torch.tensor([[worst, 2.0], [5.0, worst], [worst, worst]])])
    assert list(zip(match.proposals.tolist(), match.targets.tolist())) == [(0, 1), (1, 0)]


def test_a_diverged_network_is_still_matched() -> None:
    (match,) = hungarian([torch.full((4, 2), math.nan)])
    assert len(set(match.proposals.tolist())) == 2
    assert sorted(match.targets.tolist()) == [0, 1]


def test_costs_may_carry_gradients_and_half_precision() -> None:
    cost = torch.tensor([[1.0, 0.0]], dtype=torch.bfloat16, requires_grad=True)
    assert hungarian([cost])[0].targets.tolist() == [1]


@pytest.mark.parametrize("count", [POINTS // 2, POINTS * 2])  # fewer and more than the pixels of a mask
def test_costs_keep_full_precision_under_autocast(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    costs = matching.matching_costs

    def watched(masks: Iterable[Tensor]) -> Iterator[Tensor]:
        for layer in masks:
            seen.append(layer.dtype)
            yield layer

    def record(logits: list[Tensor], masks: Iterable[Tensor], *rest: Tensor, **weights: float) -> list[Tensor]:
        found = costs(logits, watched(masks), *rest, **weights)
        seen.extend(x.dtype for x in (*logits, *found))
        return found

    monkeypatch.setattr(matching, "matching_costs", record)
    with torch.autocast("cpu", torch.bfloat16):
        matched([uncertain()], one_empty_target(), points=count)
    assert seen == [torch.float32] * 3  # masks, logits and cost of one layer


def test_the_weights_are_the_matchers_own() -> None:
    layer = uncertain()
    layer.logits[0, 1, 1] = 3.0  # the second predicts the target's name
    layer.mask_logits[0, 0] = -9.0  # the first has the target's mask, which is empty
    chosen = {}
    for name, weights in {"class": (9.0, 0.0, 0.0), "mask": (0.0, 5.0, 5.0)}.items():
        matcher = HungarianMatcher(*weights, points=POINTS)
        found = MatchedPredictions.match(*factor([layer]), one_empty_target(), matcher, StepSeeds(0, (0,)))
        chosen[name] = found.matches[0].T.tolist()
    assert chosen == {"class": [[0, 1, 0]], "mask": [[0, 0, 0]]}
