"""Sampled points: values by hand, and where the uncertain ones lie."""

from __future__ import annotations

import pytest
import torch

from opsnet.losses.point_sampling import SharedPoints, StepPoints, StepSeeds, sample_points, undecided_points


def test_values_by_hand() -> None:
    maps = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]], [[10.0, 20.0], [30.0, 40.0]]]])
    points = torch.tensor([[[0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.5, 0.5], [0.25, 0.5]]])  # (x, y)
    assert sample_points(maps, points)[0].tolist() == [[1.0, 2.0, 3.0, 2.5, 2.0], [10.0, 20.0, 30.0, 25.0, 20.0]]


def test_each_image_has_its_own_points() -> None:
    maps = torch.tensor([1.0, 2.0, 3.0, 4.0]).view(1, 1, 2, 2).expand(2, 1, 2, 2)
    points = torch.tensor([[[0.25, 0.25]], [[0.75, 0.75]]])
    assert sample_points(maps, points).flatten().tolist() == [1.0, 4.0]


def test_a_point_means_the_same_place_at_every_resolution() -> None:
    half = torch.cat((torch.zeros(1, 1, 4, 4), torch.ones(1, 1, 4, 4)), dim=-1)
    points = torch.tensor([[[0.2, 0.5], [0.8, 0.5]]])
    fine = half.repeat_interleave(4, -1).repeat_interleave(4, -2)
    assert sample_points(half, points).flatten().tolist() == [0.0, 1.0]
    assert sample_points(fine, points).flatten().tolist() == [0.0, 1.0]


def test_no_map_gives_no_value() -> None:
    assert sample_points(torch.zeros(1, 0, 4, 4), torch.rand(1, 6, 2)).shape == (1, 0, 6)


def test_gradients_reach_the_map() -> None:
    maps = torch.zeros(1, 1, 2, 2, requires_grad=True)
    sample_points(maps, torch.tensor([[[0.25, 0.25]]])).sum().backward()
    assert maps.grad.flatten().tolist() == [1.0, 0.0, 0.0, 0.0]


def edge_map() -> torch.Tensor:
    """Undecided only in the tenth of the picture around the middle column."""
    x = (torch.arange(100) + 0.5) / 100
    return (200 * (x - 0.5)).clamp(-10, 10).expand(1, 100, 100)


def test_the_chosen_points_lie_where_each_mask_is_undecided() -> None:
    torch.manual_seed(0)
    tried = torch.rand(4000, 2)
    both = torch.cat((edge_map(), edge_map().transpose(1, 2)))
    chosen = undecided_points(both, SharedPoints(tried[None]), 100)
    # About 200 of 4000 lie in the twentieth around the middle; the 100 nearest are taken, each mask's own.
    assert ((tried[chosen[0], 0] - 0.5).abs() < 0.025).all()
    assert ((tried[chosen[1], 1] - 0.5).abs() < 0.025).all()
    assert len(set(chosen[0].tolist())) == 100


def test_choosing_points_carries_no_gradient() -> None:
    maps = torch.randn(1, 4, 4, requires_grad=True)
    assert not undecided_points(maps, SharedPoints(torch.rand(1, 9, 2)), 5).requires_grad


@pytest.mark.parametrize("count", [1, 7, 8])
def test_a_mask_is_read_at_as_many_points_as_asked(count) -> None:
    points = StepPoints.draw(count, StepSeeds.of(0, 1, [5, "a.png"]), torch.device("cpu"))
    assert points.matching.shape == (2, count, 2)
    assert points.tried.shape == (3 * count, 2)
    assert points.rest.shape == (2, count - int(0.75 * count), 2)
    assert points.count == count
    everything = torch.cat((points.matching.flatten(0, 1), points.tried, points.rest.flatten(0, 1)))
    assert ((everything >= 0) & (everything < 1)).all()
    assert len(everything.unique(dim=0)) == len(everything)


def test_a_pictures_points_depend_on_seed_step_and_picture_alone() -> None:
    def drawn(seed: int, step: int, *ids: int | str) -> StepPoints:
        return StepPoints.draw(8, StepSeeds.of(seed, step, ids), torch.device("cpu"))

    one = drawn(3, 7, 11)
    torch.rand(5)
    beside = drawn(3, 7, 12, 11, "b.png")
    assert torch.equal(beside.matching[1], one.matching[0])
    assert torch.equal(beside.rest[1], one.rest[0])
    assert torch.equal(beside.tried, one.tried)
    for other in (drawn(4, 7, 11), drawn(3, 8, 11)):
        assert not torch.equal(other.matching, one.matching)
        assert not torch.equal(other.tried, one.tried)
    assert not torch.equal(beside.matching[0], one.matching[0])


def test_fresh_seeds_follow_torchs_generator() -> None:
    torch.manual_seed(0)
    first, second = StepSeeds.fresh(3), StepSeeds.fresh(3)
    torch.manual_seed(0)
    assert StepSeeds.fresh(3) == first != second
    assert len(set(first.pictures)) == 3


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_shared_points_read_what_single_ones_do(layout: torch.memory_format) -> None:
    torch.manual_seed(0)
    maps = torch.randn(3, 6, 5, 9).contiguous(memory_format=layout)
    corners = torch.tensor([[0.0, 0.0], [1.0, 1.0], [0.0, 1.0], [0.5, 0.0]]).expand(3, 4, 2)
    points = torch.cat((torch.rand(3, 50, 2), corners), dim=1)
    shared = SharedPoints(points)
    torch.testing.assert_close(shared.read(maps), sample_points(maps, points))
    other = torch.randn(3, 2, 4, 4)  # the same points on maps of another size
    torch.testing.assert_close(shared.read(other), sample_points(other, points))


def test_reading_into_earlier_memory_changes_no_digit() -> None:
    torch.manual_seed(0)
    shared = SharedPoints(torch.rand(2, 3000, 2))  # more than are read at once
    first, second = torch.randn(2, 2, 6, 5, 9).contiguous()
    memory = shared.read(first)
    expected = shared.read(second)
    assert shared.read(second, out=memory).data_ptr() == memory.data_ptr()
    assert torch.equal(memory, expected)
