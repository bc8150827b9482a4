"""A weighted sum of two embeddings' directions (Embedding Fusion; paper, section 3.3)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def fuse_directions(first: Tensor, second: Tensor, weight: float | Tensor) -> Tensor:
    """``first / |first| + weight * second / |second|``, and ``first`` as it is where the weight is 0.

    Equal to :func:`fuse_directions_reference` to the digit, without what a weight of 0 makes superfluous.

    Args:
        first, second: (..., D).
        weight: a number, or a tensor of no dimension.
    """
    # A graph's weight stays open, and one that learns needs its gradient.
    if torch.compiler.is_exporting() or (isinstance(weight, Tensor) and weight.requires_grad):
        return fuse_directions_reference(first, second, weight)
    weight = float(weight)
    if weight == 0:
        return first
    return F.normalize(first, dim=-1) + weight * F.normalize(second, dim=-1)


def fuse_directions_reference(first: Tensor, second: Tensor, weight: float | Tensor) -> Tensor:
    """The same, whatever the weight is."""
    weight = torch.as_tensor(weight).to(first)
    fused = F.normalize(first, dim=-1) + weight * F.normalize(second, dim=-1)
    return torch.where(weight == 0, first, fused)
