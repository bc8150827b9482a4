"""Sampled points: their number, what they depend on, and where the uncertain ones lie."""

from __future__ import annotations

import pytest
import torch

from opsnet.losses.point_sampling import StepPoints, StepSeeds, uncertain_points
from opsnet.ops.maps_at_points import SharedPoints


def edge_map() -> torch.Tensor:
    """Uncertain only in the tenth of the image around the middle column."""
    x = (torch.arange(100) + 0.5) / 100
    return (200 * (x - 0.5)).clamp(-10, 10).expand(1, 100, 100)


def test_the_chosen_points_lie_where_each_mask_is_uncertain() -> None:
    torch.manual_seed(0)
    candidates = torch.rand(4000, 2)
    both = torch.cat((edge_map(), edge_map().transpose(1, 2)))
    chosen = uncertain_points(both, SharedPoints(candidates[None]), 100)
    # About 200 of 4000 lie in the twentieth around the middle; the 100 nearest are taken, each mask's own.
    assert ((candidates[chosen[0], 0] - 0.5).abs() < 0.025).all()
    assert ((candidates[chosen[1], 1] - 0.5).abs() < 0.025).all()
    assert len(set(chosen[0].tolist())) == 100


def test_choosing_points_carries_no_gradient() -> None:
    maps = torch.randn(1, 4, 4, requires_grad=True)
    assert not uncertain_points(maps, SharedPoints(torch.rand(1, 9, 2)), 5).requires_grad


@pytest.mark.parametrize("count", [1, 7, 8])
def test_a_mask_is_read_at_as_many_points_as_asked(count) -> None:
    points = StepPoints.draw(count, StepSeeds.of(0, 1, [5, "a.png"]), torch.device("cpu"))
    assert points.matching.shape == (2, count, 2)
    assert points.candidates.shape == (3 * count, 2)
    assert points.random_points.shape == (2, count - int(0.75 * count), 2)
    assert points.count == count
    everything = torch.cat((points.matching.flatten(0, 1), points.candidates, points.random_points.flatten(0, 1)))
    assert ((everything >= 0) & (everything < 1)).all()
    assert len(everything.unique(dim=0)) == len(everything)


def test_the_points_of_an_image_depend_only_on_seed_step_and_image() -> None:
    def drawn(seed: int, step: int, *ids: int | str) -> StepPoints:
        return StepPoints.draw(8, StepSeeds.of(seed, step, ids), torch.device("cpu"))

    one = drawn(3, 7, 11)
    torch.rand(5)
    beside = drawn(3, 7, 12, 11, "b.png")
    assert torch.equal(beside.matching[1], one.matching[0])
    assert torch.equal(beside.random_points[1], one.random_points[0])
    assert torch.equal(beside.candidates, one.candidates)
    for other in (drawn(4, 7, 11), drawn(3, 8, 11)):
        assert not torch.equal(other.matching, one.matching)
        assert not torch.equal(other.candidates, one.candidates)
    assert not torch.equal(beside.matching[0], one.matching[0])


def test_fresh_seeds_follow_torchs_generator() -> None:
    torch.manual_seed(0)
    first, second = StepSeeds.fresh(3), StepSeeds.fresh(3)
    torch.manual_seed(0)
    assert StepSeeds.fresh(3) == first != second
    assert len(set(first.images)) == 3
