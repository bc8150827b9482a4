"""Weighted means of a feature map: one per mask."""

from __future__ import annotations

import torch
from torch import Tensor


def mask_average(features: Tensor, weights: Tensor) -> Tensor:
    """Means of features (B, C, h, w) with the weights of K masks, (B, K, h, w) of at least 0 -> (B, K, C).

    Zeros for a mask without any weight.
    """
    total = weights.sum(dim=(-2, -1))[..., None]
    table = features.permute(0, 2, 3, 1).flatten(1, 2)  # (B, h * w, C): a view in both of PyTorch's memory formats
    # A tiny divisor would do for the values, but its gradient is infinite, and NaN times a weight of zero.
    return (weights.flatten(2) @ table) / torch.where(total > torch.finfo(features.dtype).tiny, total, 1)
