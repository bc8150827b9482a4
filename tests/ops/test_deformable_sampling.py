"""Deformable sampling: all implementations against loops over pixels and transformers' Mask2Former, with gradients."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from opsnet.ops.deformable_sampling import (
    Shapes,
    deformable_sampling,
    sampling_locations,
    sampling_locations_reference,
    sampling_reference,
    sampling_sparse,
)

Way = Callable[[Tensor, Shapes, Tensor, Tensor], Tensor]
Inputs = tuple[Tensor, Shapes, Tensor, Tensor]
every_way = pytest.mark.parametrize("way", [sampling_reference, sampling_sparse])
every_shape = pytest.mark.parametrize("shapes", [[(3, 4), (2, 1)], [(7, 5)], [(1, 1), (1, 3), (11, 2)]])


def make_inputs(shapes: Shapes, dtype: torch.dtype = torch.float32) -> Inputs:
    """Two images, two heads with three channels, five queries, two points; some points are outside, some far away."""
    torch.manual_seed(0)
    value = torch.randn(2, sum(h * w for h, w in shapes), 2, 3, dtype=dtype)
    locations = (torch.rand(2, 5, 2, len(shapes), 2, 2, dtype=dtype) - 0.5) * 1.8 + 0.5
    locations[0, 0, 0, 0] += 7
    locations[1, 0, 1, 0] -= 7
    weights = torch.rand(2, 5, 2, len(shapes), 2, dtype=dtype)
    return value, shapes, locations, weights


def by_definition(value: Tensor, shapes: Shapes, locations: Tensor, weights: Tensor) -> Tensor:
    """One value at a time: bilinear between pixel centres, zero outside."""
    batch, _, heads, channels = value.shape
    queries, levels, points = locations.shape[1], len(shapes), locations.shape[4]
    result = torch.zeros(batch, queries, heads, channels)
    starts = [sum(h * w for h, w in shapes[:level]) for level in range(levels)]
    for b, q, head, level, p in torch.cartesian_prod(*map(torch.arange, (batch, queries, heads, levels, points))):
        h, w = shapes[level]
        x = locations[b, q, head, level, p, 0].item() * w - 0.5
        y = locations[b, q, head, level, p, 1].item() * h - 0.5
        for row in (math.floor(y), math.floor(y) + 1):
            for column in (math.floor(x), math.floor(x) + 1):
                if 0 <= row < h and 0 <= column < w:
                    share = (1 - abs(y - row)) * (1 - abs(x - column)) * weights[b, q, head, level, p]
                    result[b, q, head] += share * value[b, starts[level] + row * w + column, head]
    return result.flatten(2)


@every_way
@every_shape
def test_sampling_is_the_definition(way: Way, shapes: Shapes) -> None:
    inputs = make_inputs(shapes)
    torch.testing.assert_close(way(*inputs), by_definition(*inputs), atol=1e-5, rtol=1e-5)


@every_way
@every_shape
def test_sampling_is_mask2formers(way: Way, shapes: Shapes) -> None:
    module = pytest.importorskip("transformers.models.mask2former.modeling_mask2former")
    theirs = getattr(module, "multi_scale_deformable_attention", None)
    if theirs is None:
        pytest.skip("this version of transformers has no multi_scale_deformable_attention")
    inputs = make_inputs(shapes)
    torch.testing.assert_close(way(*inputs), theirs(*inputs), atol=1e-5, rtol=1e-5)


@every_shape
def test_gradients_are_those_of_the_reference(shapes: Shapes) -> None:
    found = []
    for way in (sampling_reference, sampling_sparse):
        value, _, locations, weights = make_inputs(shapes)
        leaves = [t.requires_grad_() for t in (value, locations, weights)]
        torch.manual_seed(1)
        (way(leaves[0], shapes, leaves[1], leaves[2]) * torch.randn(2, 5, 6)).sum().backward()
        found.append([leaf.grad for leaf in leaves])
    for reference, sparse in zip(*found, strict=True):
        torch.testing.assert_close(sparse, reference, atol=1e-5, rtol=1e-5)


@every_way
@every_shape
def test_gradcheck(way: Way, shapes: Shapes) -> None:
    value, _, locations, weights = make_inputs(shapes, torch.float64)
    leaves = [t[:1].clone().requires_grad_() for t in (value, locations[:, :2], weights[:, :2])]
    assert torch.autograd.gradcheck(lambda v, x, w: way(v, shapes, x, w), leaves)


def sample_one(way: Way, x: float, y: float) -> float:
    """The map [[1, 2], [3, 4]] at one point."""
    value = torch.tensor([1.0, 2.0, 3.0, 4.0]).view(1, 4, 1, 1)
    location = torch.tensor([x, y]).view(1, 1, 1, 1, 1, 2)
    return way(value, [(2, 2)], location, torch.ones(1, 1, 1, 1, 1)).item()


@every_way
@pytest.mark.parametrize(
    ("x", "y", "expected"),
    [(0.25, 0.25, 1.0), (0.75, 0.25, 2.0), (0.25, 0.75, 3.0), (0.5, 0.5, 2.5), (0.5, 0.25, 1.5), (0.0, 0.25, 0.5)],
)
def test_points_by_hand(way: Way, x: float, y: float, expected: float) -> None:
    assert sample_one(way, x, y) == pytest.approx(expected)


@every_way
@pytest.mark.parametrize(
    ("x", "y"), [(-0.25, 0.5), (1.25, 0.5), (0.5, -0.3), (0.5, 2.0), (-9.0, 9.0), (1e8, 0.5), (0.5, -1e8)]
)
def test_outside_is_zero(way: Way, x: float, y: float) -> None:
    assert sample_one(way, x, y) == 0.0


def test_half_precision_keeps_its_type_and_exact_locations() -> None:
    shapes = [(3, 300)]
    value, _, locations, weights = make_inputs(shapes)
    found = sampling_sparse(value.bfloat16(), shapes, locations, weights.bfloat16())
    assert found.dtype == torch.bfloat16
    expected = sampling_reference(value.bfloat16().float(), shapes, locations, weights.bfloat16().float())
    torch.testing.assert_close(found.float(), expected, atol=1e-2, rtol=1e-2)


def test_the_fast_implementation_is_used_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("opsnet.ops.deformable_sampling.sampling_sparse", lambda *_: "fast")
    assert deformable_sampling(*make_inputs([(2, 2)])) == "fast"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_locations_exactly_equal_the_reference(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    shapes = [(3, 5), (7, 2)]
    reference, offsets = torch.rand(6, 2), torch.randn(2, 6, 4, 2, 3, 2, dtype=dtype)
    found = sampling_locations(reference, offsets, shapes)
    assert torch.equal(found, sampling_locations_reference(reference, offsets, shapes))
    cells = offsets[1, 4, 3, 1, 2].double() / torch.tensor((2, 7))  # (x, y), by hand
    torch.testing.assert_close(found[1, 4, 3, 1, 2].double(), reference[4] + cells, atol=1e-2, rtol=0)


def test_locations_of_a_level_with_dynamic_size() -> None:
    class Locations(nn.Module):
        def forward(self, reference: Tensor, offsets: Tensor, level: Tensor) -> Tensor:
            return sampling_locations(reference, offsets, [(level.shape[0], 2)])

    inputs = (torch.rand(6, 2), torch.randn(1, 6, 2, 1, 3, 2))
    dynamic = {"reference": None, "offsets": None, "level": {0: torch.export.Dim("height", min=2)}}
    program = torch.export.export(Locations(), (*inputs, torch.rand(5)), dynamic_shapes=dynamic, strict=False)
    found = program.module()(*inputs, torch.rand(9))
    torch.testing.assert_close(found, sampling_locations_reference(*inputs, [(9, 2)]))
