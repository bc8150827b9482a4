"""Weighted sum of two normalised embeddings (Embedding Fusion; paper, section 3.3)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def fuse_directions(first: Tensor, second: Tensor, weight: float | Tensor) -> Tensor:
    """``first / |first| + weight * second / |second|``, or ``first`` unchanged if the weight is 0.

    Exactly equal to :func:`fuse_directions_reference`, but skips the computation if the weight is 0.

    Args:
        first, second: (..., D).
        weight: a number or a 0-dimensional tensor.
    """
    # The weight is an input of an exported graph, and a learned weight needs a gradient.
    if torch.compiler.is_exporting() or (isinstance(weight, Tensor) and weight.requires_grad):
        return fuse_directions_reference(first, second, weight)
    weight = float(weight)
    if weight == 0:
        return first
    return F.normalize(first, dim=-1) + weight * F.normalize(second, dim=-1)


def fuse_directions_reference(first: Tensor, second: Tensor, weight: float | Tensor) -> Tensor:
    """The same for any weight."""
    weight = torch.as_tensor(weight).to(first)
    fused = F.normalize(first, dim=-1) + weight * F.normalize(second, dim=-1)
    return torch.where(weight == 0, first, fused)
