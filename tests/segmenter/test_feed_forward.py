"""FeedForward: the same values and gradients as with PyTorch's own ReLU, which overwrites nothing."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from opsnet.segmenter.layers import FeedForward


def plain(layer: FeedForward, x: Tensor) -> Tensor:
    return layer.norm(x + layer.linear2(nn.functional.relu(layer.linear1(x))))


@pytest.mark.parametrize("frozen", [False, True])
def test_values_and_gradients_are_those_of_a_plain_relu(frozen: bool) -> None:
    torch.manual_seed(0)
    layer = FeedForward(dim=8, hidden=20).requires_grad_(not frozen)
    answers = []
    for function in (layer, lambda x: plain(layer, x)):
        x = torch.linspace(-2, 2, 48).view(2, 3, 8).requires_grad_()
        y = function(x)
        gradients = torch.autograd.grad(y.sum() + y.square().sum(), [x, *(() if frozen else layer.parameters())])
        answers.append((y, *gradients))
    assert all(torch.equal(a, b) for a, b in zip(*answers, strict=True))


def test_gradients_by_finite_differences() -> None:
    torch.manual_seed(0)
    layer = FeedForward(dim=4, hidden=6).double()
    assert torch.autograd.gradcheck(layer, torch.randn(3, 4, dtype=torch.float64, requires_grad=True))


def test_no_gradient_is_needed() -> None:
    torch.manual_seed(0)
    layer, x = FeedForward(dim=4, hidden=6), torch.randn(2, 4)
    with torch.no_grad():
        assert torch.equal(layer(x), plain(layer, x))
