"""Average pooling to a given size, also in an exported graph with dynamic height and width."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def adaptive_average(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Averages (..., H, W) over a grid of ``size`` windows: (..., *size)."""
    # ONNX has no such operation; everywhere else PyTorch's own is faster.
    pool = adaptive_average_separable if torch.compiler.is_exporting() else adaptive_average_reference
    return pool(x, size)


def adaptive_average_reference(x: Tensor, size: tuple[int, int]) -> Tensor:
    """PyTorch's own operation."""
    return F.adaptive_avg_pool2d(x, size)


def adaptive_average_separable(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Two matrix products, since the mean over windows is separable and linear; equal up to rounding."""
    down = _windows(x.shape[-2], size[0], x)
    across = _windows(x.shape[-1], size[1], x)
    return down @ x @ across.mT


def _windows(length: int, parts: int, like: Tensor) -> Tensor:
    """(parts, length): the weight of each cell in the mean of each window, placed as in adaptive pooling."""
    first = torch.arange(parts, device=like.device)[:, None]
    cells = torch.arange(length, device=like.device)
    begin, end = first * length // parts, ((first + 1) * length + parts - 1) // parts
    inside = ((cells >= begin) & (cells < end)).to(like.dtype)
    return inside / inside.sum(-1, keepdim=True)
