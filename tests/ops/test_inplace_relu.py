"""The in-place ReLU: values and gradients exactly equal the plain ReLU, without new memory for either."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from opsnet.ops.inplace_relu import inplace_relu, relu_reference


def test_values_and_gradients_are_those_of_the_reference() -> None:
    torch.manual_seed(0)
    first, second = nn.Linear(8, 20), nn.Linear(20, 8)
    found = []
    for relu in (inplace_relu, relu_reference):
        x = torch.linspace(-2, 2, 48).view(2, 3, 8).requires_grad_()
        y = second(relu(first(x)))
        leaves = [x, *first.parameters(), *second.parameters()]
        found.append([y, *torch.autograd.grad(y.sum() + y.square().sum(), leaves)])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_zero_and_nan_are_those_of_the_reference() -> None:
    x = torch.tensor([0.0, -0.0, torch.nan, torch.inf, -torch.inf])
    torch.testing.assert_close(inplace_relu(x.clone()), relu_reference(x), equal_nan=True, rtol=0, atol=0)


def test_output_and_gradient_allocate_no_memory() -> None:
    hidden = torch.linspace(-2, 2, 9, requires_grad=True) * 1
    address, given = hidden.data_ptr(), torch.ones(9)
    positive = inplace_relu(hidden)
    assert positive.data_ptr() == address
    positive.backward(given)
    assert given.tolist() == [0.0] * 5 + [1.0] * 4


def test_an_exported_graph_has_pytorchs_own_relu() -> None:
    class Layer(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return inplace_relu(x + 1)

    x = torch.linspace(-3, 3, 7)
    program = torch.export.export(Layer(), (x,), strict=False)
    assert "relu" in str(program.graph)
    assert torch.equal(program.module()(x), relu_reference(x + 1))
