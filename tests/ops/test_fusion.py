"""Fusing directions: by hand, exactly equal to the reference, differentiable and exportable."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from opsnet.ops.fusion import fuse_directions, fuse_directions_reference


def test_by_hand() -> None:
    first, second = torch.tensor([3.0, 4.0]), torch.tensor([0.0, 0.5])
    assert fuse_directions_reference(first, second, 2.0).tolist() == pytest.approx([0.6, 2.8])
    assert fuse_directions_reference(first, second, 0.0).tolist() == [3, 4]


@pytest.mark.parametrize("weight", [0.0, 1.0, 3.7, torch.tensor(0.1, dtype=torch.float64), torch.tensor(0.0)])
def test_it_exactly_equals_the_reference(weight: float | Tensor) -> None:
    first, second = torch.randn(2, 4, 7, 64, generator=torch.Generator().manual_seed(0))
    assert torch.equal(fuse_directions(first, second, weight), fuse_directions_reference(first, second, weight))


def test_a_learned_weight_gets_a_gradient() -> None:
    weight = torch.tensor(0.5, requires_grad=True)
    fuse_directions(torch.ones(4), torch.tensor([0.0, 3.0, 0.0, 0.0]), weight).sum().backward()
    assert weight.grad.item() == 1.0


def test_an_exported_graph_accepts_any_weight() -> None:
    class Fuse(nn.Module):
        def forward(self, first: Tensor, second: Tensor, weight: Tensor) -> Tensor:
            return fuse_directions(first, second, weight)

    inputs = torch.randn(2, 3, 8, generator=torch.Generator().manual_seed(0)).unbind(0)
    program = torch.export.export(Fuse(), (*inputs, torch.tensor(2.0)), strict=False)
    for weight in (torch.tensor(0.0), torch.tensor(0.3)):
        torch.testing.assert_close(program.module()(*inputs, weight), fuse_directions_reference(*inputs, weight))
