"""Maps at points: values by hand, and the fast forms against the reference."""

from __future__ import annotations

import pytest
import torch

from opsnet.ops.maps_at_points import SharedPoints, masks_at_points, masks_at_points_reference, sample_points


def test_values_by_hand() -> None:
    maps = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]], [[10.0, 20.0], [30.0, 40.0]]]])
    points = torch.tensor([[[0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.5, 0.5], [0.25, 0.5]]])  # (x, y)
    assert sample_points(maps, points)[0].tolist() == [[1.0, 2.0, 3.0, 2.5, 2.0], [10.0, 20.0, 30.0, 25.0, 20.0]]


def test_each_image_has_its_own_points() -> None:
    maps = torch.tensor([1.0, 2.0, 3.0, 4.0]).view(1, 1, 2, 2).expand(2, 1, 2, 2)
    points = torch.tensor([[[0.25, 0.25]], [[0.75, 0.75]]])
    assert sample_points(maps, points).flatten().tolist() == [1.0, 4.0]


def test_a_point_is_the_same_location_at_every_resolution() -> None:
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


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_shared_points_sample_the_same_values(layout: torch.memory_format) -> None:
    torch.manual_seed(0)
    maps = torch.randn(3, 6, 5, 9).contiguous(memory_format=layout)
    corners = torch.tensor([[0.0, 0.0], [1.0, 1.0], [0.0, 1.0], [0.5, 0.0]]).expand(3, 4, 2)
    points = torch.cat((torch.rand(3, 50, 2), corners), dim=1)
    shared = SharedPoints(points)
    torch.testing.assert_close(shared.read(maps), sample_points(maps, points))
    other = torch.randn(3, 2, 4, 4)  # the same points on maps of another size
    torch.testing.assert_close(shared.read(other), sample_points(other, points))


def test_reused_memory_does_not_change_the_values() -> None:
    torch.manual_seed(0)
    shared = SharedPoints(torch.rand(2, 3000, 2))  # more than are sampled at once
    first, second = torch.randn(2, 2, 6, 5, 9).contiguous()
    memory = shared.read(first)
    expected = shared.read(second)
    assert shared.read(second, out=memory).data_ptr() == memory.data_ptr()
    assert torch.equal(memory, expected)


@pytest.mark.parametrize("count", [40, 400])  # fewer and more than the 15 x 13 pixels
def test_masks_of_every_layer_at_points_are_the_reference(count: int) -> None:
    torch.manual_seed(0)
    points, pixels, embeds = torch.rand(2, count, 2), torch.randn(2, 6, 15, 13), list(torch.randn(3, 2, 4, 6))
    expected = masks_at_points_reference(points, embeds, pixels)
    addresses = set()
    for found, masks in zip(masks_at_points(SharedPoints(points), embeds, pixels), expected, strict=True):
        torch.testing.assert_close(found, masks, atol=1e-5, rtol=1e-5)
        addresses.add(found.data_ptr())
    assert len(addresses) == 1  # the layers share their memory


def test_masks_at_points_have_no_gradient() -> None:
    embeds, pixels = [torch.randn(1, 2, 3, requires_grad=True)], torch.randn(1, 3, 4, 4, requires_grad=True)
    for count in (5, 50):
        (masks,) = masks_at_points(SharedPoints(torch.rand(1, count, 2)), embeds, pixels)
        assert not masks.requires_grad


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_gradient_reaches_maps_in_either_memory_format(layout: torch.memory_format) -> None:
    torch.manual_seed(0)
    maps, points, weights = torch.randn(2, 6, 5, 9), torch.rand(2, 20, 2), torch.randn(2, 6, 20)
    gradients = []
    for way in (lambda m: SharedPoints(points).read(m), lambda m: sample_points(m, points)):
        given = maps.contiguous(memory_format=layout).requires_grad_()
        (way(given) * weights).sum().backward()
        gradients.append(given.grad)
    torch.testing.assert_close(*gradients)
