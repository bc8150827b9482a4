"""Deformable attention: where its heads attend initially, and the unit of its offsets."""

from __future__ import annotations

import pytest
import torch

from opsnet.segmenter.deformable_attention import DeformableAttention

SHAPES = [(3, 4), (2, 1)]


def make_attention() -> DeformableAttention:
    torch.manual_seed(0)
    return DeformableAttention(dim=8, levels=2, heads=4, points=3)


def test_initially_heads_attend_in_different_directions() -> None:
    attention = make_attention()
    offsets = attention.offsets.bias.detach().view(4, 2, 3, 2)  # heads, levels, points, (x, y)
    directions = [[1, 0], [0, 1], [-1, 0], [0, -1]]
    for head, direction in enumerate(directions):
        for level in range(2):
            expected = torch.tensor([[k * direction[0], k * direction[1]] for k in (1, 2, 3)], dtype=torch.float32)
            torch.testing.assert_close(offsets[head, level], expected)
    assert attention.offsets.weight.abs().max() == 0


def test_a_constant_memory_gives_its_projection() -> None:
    attention = make_attention()
    with torch.no_grad():
        attention.offsets.bias.zero_()
    memory = torch.randn(8).expand(1, 14, 8)
    reference = torch.tensor([[0.5, 0.5], [0.5, 0.6]])  # a cell's width inside of every level
    answer = attention(torch.randn(1, 2, 8), reference, memory, SHAPES)
    torch.testing.assert_close(answer, attention.out(attention.value(memory[:, :2])))


def test_offsets_are_in_cells_of_their_level() -> None:
    """One head whose only point is one cell to the right: on both levels it samples the neighbour."""
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
    assert answer.item() == pytest.approx((fine + coarse) / 2)  # the weights are uniform initially


def test_heads_that_do_not_divide_the_dimension() -> None:
    with pytest.raises(ValueError, match=r"heads \(3\) must divide the dimension \(8\)"):
        DeformableAttention(dim=8, levels=1, heads=3)
