"""Sampled points: values by hand, and where the uncertain ones lie."""

from __future__ import annotations

import pytest
import torch

from opsnet.losses.point_sampling import SharedPoints, sample_points, uncertain_points


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


def test_most_points_lie_where_the_mask_is_undecided() -> None:
    torch.manual_seed(0)
    points = uncertain_points(edge_map(), 400, oversample=10.0, share=0.25)
    near = (points[0, :, 0] - 0.5).abs() < 0.025
    # Of 4000 tries about 200 fall there, and the 100 nearest are taken; of the 300 others about 15 fall there too.
    assert near[:100].all()
    assert 3 <= near[100:].sum() <= 40


@pytest.mark.parametrize(("count", "share"), [(1, 0.75), (7, 0.75), (8, 0.0), (8, 1.0)])
def test_the_count_is_exact(count: int, share: float) -> None:
    points = uncertain_points(torch.randn(3, 5, 6), count, share=share)
    assert points.shape == (3, count, 2)
    assert ((points >= 0) & (points <= 1)).all()


def test_rows_have_points_of_their_own() -> None:
    torch.manual_seed(0)
    down = edge_map().transpose(1, 2)
    points = uncertain_points(torch.cat((edge_map(), down)), 400, oversample=10.0, share=0.25)
    assert ((points[0, :100, 0] - 0.5).abs() < 0.025).all()
    assert ((points[1, :100, 1] - 0.5).abs() < 0.025).all()


def test_points_carry_no_gradient() -> None:
    assert not uncertain_points(torch.randn(1, 4, 4, requires_grad=True), 5).requires_grad


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
