"""What the network computes in another way while ``torch.export`` traces it: the same numbers, in operations that keep
height and width open. Everywhere else PyTorch's own, faster ones run."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def adaptive_average(x: Tensor, size: tuple[int, int]) -> Tensor:
    """``adaptive_avg_pool2d``: (..., H, W) -> (..., *size)."""
    if not torch.compiler.is_exporting():
        return F.adaptive_avg_pool2d(x, size)
    # ONNX has no such operation; the mean over windows is separable and linear.
    down = _windows(x.shape[-2], size[0], x)
    across = _windows(x.shape[-1], size[1], x)
    return down @ x @ across.mT


def _windows(length: int, parts: int, like: Tensor) -> Tensor:
    """(parts, length): the share of each cell in the mean of each window, as adaptive pooling lays them."""
    first = torch.arange(parts, device=like.device)[:, None]
    cells = torch.arange(length, device=like.device)
    begin, end = first * length // parts, ((first + 1) * length + parts - 1) // parts
    inside = ((cells >= begin) & (cells < end)).to(like.dtype)
    return inside / inside.sum(-1, keepdim=True)


def number(value: float, like: Tensor) -> Tensor:
    """A length that may be symbolic, as a tensor of no dimension."""
    return torch.full((), value, dtype=like.dtype, device=like.device)
