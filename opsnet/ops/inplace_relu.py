"""ReLU between two linear layers that allocates no memory for its output or gradient."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def inplace_relu(x: Tensor) -> Tensor:
    """ReLU of (...), which may overwrite ``x`` and, in the backward pass, the gradient of its output.

    The hidden activations of a feed-forward layer are the widest tensors of a transformer, and on a CPU allocating one
    takes longer than computing it. Exactly equal to :func:`relu_reference`, forward and backward.

    Args:
        x: must not be used elsewhere; the output must go to a linear layer, whose backward does not use its own output.
    """
    if torch.compiler.is_exporting():  # autograd functions cannot be exported
        return relu_reference(x)
    positive: Tensor = _InplaceReLU.apply(x)
    return positive


def relu_reference(x: Tensor) -> Tensor:
    """The same with newly allocated memory."""
    return F.relu(x)


class _InplaceReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.mark_dirty(x.relu_())
        ctx.save_for_backward(x)
        return x

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        (positive,) = ctx.saved_tensors
        out: Tensor = torch.ops.aten.threshold_backward.grad_input(gradient, positive, 0, grad_input=gradient)
        return out
