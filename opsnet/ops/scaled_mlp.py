"""The second half of a ConvNeXt block: an MLP on every position, scaled per channel, and the residual connection.

    shortcut + gamma * (W2 gelu(W1 x + b1) + b2)

The hidden layer is four times as wide as the map: 79 MB for the first stage of a ConvNeXt-L at 640 x 640 pixels. It is
written and read three times (bias, product, GELU), which takes part of the time unless it stays in the cache.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

ROWS = 1024
"""Positions processed at a time. With fewer, the products become slower than what the cache saves."""


class MlpWeights(NamedTuple):
    """Weights (4C, C) and (C, 4C) with their biases, and the scale of each channel, (C,)."""

    weight1: Tensor
    bias1: Tensor
    weight2: Tensor
    bias2: Tensor
    gamma: Tensor


def scaled_mlp(x: Tensor, shortcut: Tensor, weights: MlpWeights) -> Tensor:
    """MLP of x (..., C), scaled and added to ``shortcut`` (..., C).

    The faster of :func:`scaled_mlp_by_rows` and :func:`scaled_mlp_reference`: the first has no gradient, cannot be
    exported, and does not pay on a GPU.
    """
    plain = torch.is_grad_enabled() or torch.compiler.is_exporting() or x.device.type != "cpu"
    return (scaled_mlp_reference if plain else scaled_mlp_by_rows)(x, shortcut, weights)


def scaled_mlp_reference(x: Tensor, shortcut: Tensor, weights: MlpWeights) -> Tensor:
    """The same, one operation after the other."""
    hidden = F.gelu(F.linear(x, weights.weight1, weights.bias1))
    return shortcut + F.linear(hidden, weights.weight2, weights.bias2) * weights.gamma


@torch.no_grad()
def scaled_mlp_by_rows(x: Tensor, shortcut: Tensor, weights: MlpWeights) -> Tensor:
    """Equal to :func:`scaled_mlp_reference`, but processes :data:`ROWS` positions at a time, in place.

    Under autocast the products are in its type and the sum in that of ``shortcut``, as in the reference.
    """
    half = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
    rows, shortcuts = x.flatten(0, -2).to(half), shortcut.flatten(0, -2)
    weight1, bias1, weight2, bias2 = (w.to(half) for w in weights[:4])
    result = torch.empty(shortcuts.shape, dtype=torch.promote_types(shortcut.dtype, weights.gamma.dtype))
    hidden = rows.new_empty(min(ROWS, len(rows)), len(weight1))
    output = rows.new_empty(len(hidden), len(weight2))
    for own, before, after in zip(rows.split(ROWS), shortcuts.split(ROWS), result.split(ROWS), strict=True):
        wide, narrow = hidden[: len(own)], output[: len(own)]
        torch.addmm(bias1, own, weight1.T, out=wide)
        torch.ops.aten.gelu_(wide)
        torch.addmm(bias2, wide, weight2.T, out=narrow)
        torch.addcmul(before, narrow, weights.gamma, out=after)
    return result.view(shortcut.shape)
