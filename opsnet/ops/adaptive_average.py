"""Average pooling to a size, also in an exported graph whose height and width stay open."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def adaptive_average(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Averages (..., H, W) over as many windows as ``size`` says: (..., *size)."""
    # ONNX has no such operation; everywhere else PyTorch's own is the faster one.
    pool = adaptive_average_separable if torch.compiler.is_exporting() else adaptive_average_reference
    return pool(x, size)


def adaptive_average_reference(x: Tensor, size: tuple[int, int]) -> Tensor:
    """By PyTorch's own operation."""
    return F.adaptive_avg_pool2d(x, size)


def adaptive_average_separable(x: Tensor, size: tuple[int, int]) -> Tensor:
    """By two matrix products, as the mean over windows is separable and linear; equal up to rounding."""
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
