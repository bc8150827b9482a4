"""Deformable sampling against loops over pixels, and against transformers' Mask2Former."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from opsnet.segmenter.deformable_attention import DeformableAttention, deformable_sampling

SHAPES = [(3, 4), (2, 1)]


def make_inputs(dtype: torch.dtype = torch.float32, spread: float = 1.4) -> tuple[Tensor, list, Tensor, Tensor]:
    """Two images, two heads of three channels, five queries, two points; some of them outside."""
    torch.manual_seed(0)
    value = torch.randn(2, 3 * 4 + 2 * 1, 2, 3, dtype=dtype)
    locations = (torch.rand(2, 5, 2, 2, 2, 2, dtype=dtype) - 0.5) * spread + 0.5
    weights = torch.rand(2, 5, 2, 2, 2, dtype=dtype)
    return value, SHAPES, locations, weights


def slow_sampling(value: Tensor, shapes: list[tuple[int, int]], locations: Tensor, weights: Tensor) -> Tensor:
    """The definition, one number at a time: bilinear between pixel centres, zero outside."""
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


def test_sampling_is_the_definition() -> None:
    torch.testing.assert_close(deformable_sampling(*make_inputs()), slow_sampling(*make_inputs()))


def test_sampling_is_mask2formers() -> None:
    module = pytest.importorskip("transformers.models.mask2former.modeling_mask2former")
    theirs = getattr(module, "multi_scale_deformable_attention", None)
    if theirs is None:
        pytest.skip("this version of transformers has no multi_scale_deformable_attention")
    torch.testing.assert_close(deformable_sampling(*make_inputs()), theirs(*make_inputs()))


def sample_one(x: float, y: float) -> float:
    """The map [[1, 2], [3, 4]] at one point."""
    value = torch.tensor([1.0, 2.0, 3.0, 4.0]).view(1, 4, 1, 1)
    location = torch.tensor([x, y]).view(1, 1, 1, 1, 1, 2)
    return deformable_sampling(value, [(2, 2)], location, torch.ones(1, 1, 1, 1, 1)).item()


@pytest.mark.parametrize(
    ("x", "y", "expected"),
    [(0.25, 0.25, 1.0), (0.75, 0.25, 2.0), (0.25, 0.75, 3.0), (0.5, 0.5, 2.5), (0.5, 0.25, 1.5), (0.0, 0.25, 0.5)],
)
def test_points_by_hand(x: float, y: float, expected: float) -> None:
    assert sample_one(x, y) == pytest.approx(expected)


@pytest.mark.parametrize(("x", "y"), [(-0.25, 0.5), (1.25, 0.5), (0.5, -0.3), (0.5, 2.0), (-9.0, 9.0)])
def test_outside_is_zero(x: float, y: float) -> None:
    assert sample_one(x, y) == 0.0


def test_gradients() -> None:
    value, shapes, locations, weights = make_inputs(torch.float64)
    inputs = [t[:1].clone().requires_grad_() for t in (value, locations[:, :2], weights[:, :2])]
    assert torch.autograd.gradcheck(lambda v, x, w: deformable_sampling(v, shapes, x, w), inputs)


def make_attention() -> DeformableAttention:
    torch.manual_seed(0)
    return DeformableAttention(dim=8, levels=2, heads=4, points=3)


def test_at_first_heads_look_in_different_directions() -> None:
    attention = make_attention()
    offsets = attention.offsets.bias.detach().view(4, 2, 3, 2)  # heads, levels, points, (x, y)
    directions = [[1, 0], [0, 1], [-1, 0], [0, -1]]
    for head, direction in enumerate(directions):
        for level in range(2):
            expected = torch.tensor([[k * direction[0], k * direction[1]] for k in (1, 2, 3)], dtype=torch.float32)
            torch.testing.assert_close(offsets[head, level], expected)
    assert attention.offsets.weight.abs().max() == 0


def test_a_constant_memory_comes_back_projected() -> None:
    attention = make_attention()
    with torch.no_grad():
        attention.offsets.bias.zero_()
    memory = torch.randn(8).expand(1, 14, 8)
    reference = torch.tensor([[0.5, 0.5], [0.5, 0.6]])  # a cell's width inside of every level
    answer = attention(torch.randn(1, 2, 8), reference, memory, SHAPES)
    torch.testing.assert_close(answer, attention.out(attention.value(memory[:, :2])))


def test_offsets_count_in_cells_of_their_level() -> None:
    """One head whose only point lies one cell to the right: on both levels it reads the neighbour."""
    attention = DeformableAttention(dim=1, levels=2, heads=1, points=1)
    with torch.no_grad():
        for layer in (attention.value, attention.out):
            layer.weight.fill_(1.0)
        attention.offsets.bias.copy_(torch.tensor([1.0, 0.0, 1.0, 0.0]))
    memory = torch.tensor([10.0, 20.0, 30.0, 40.0, 1.0, 2.0]).view(1, 6, 1)  # 1 x 4 and 1 x 2
    reference = torch.tensor(
        [[0.125, 0.5]]
    )  # the centre of cell 0 of 4, a fourth of a cell left of that of cell 0 of 2
    answer = attention(torch.zeros(1, 1, 1), reference, memory, [(1, 4), (1, 2)])
    fine, coarse = 20.0, 0.75 * 2.0 + 0.25 * 1.0
    assert answer.item() == pytest.approx((fine + coarse) / 2)  # the weights are even at first


def test_heads_that_do_not_divide_the_dimension() -> None:
    with pytest.raises(ValueError, match=r"heads \(3\) must divide the dimension \(8\)"):
        DeformableAttention(dim=8, levels=1, heads=3)
