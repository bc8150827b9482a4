"""BatchNorms with fixed statistics and scales, in one pass over a map, or folded into the convolution before them.

The norm of a channel is ``weight * (x - mean) / sqrt(variance + eps) + bias``, which is a scale and a shift.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class NormNumbers(NamedTuple):
    """What a frozen norm holds: (C,) each, and eps."""

    weight: Tensor
    bias: Tensor
    mean: Tensor
    variance: Tensor
    eps: float

    def affine(self) -> tuple[Tensor, Tensor]:
        """Scale and shift of each channel, (C,) both."""
        scale = self.weight * (self.variance + self.eps).rsqrt()
        return scale, self.bias - self.mean * scale


def frozen_norm_reference(x: Tensor, norm: NormNumbers) -> Tensor:
    """(B, C, H, W) -> the same shape, by PyTorch's BatchNorm."""
    return F.batch_norm(x, norm.mean, norm.variance, norm.weight, norm.bias, training=False, eps=norm.eps)


def frozen_norm(x: Tensor, norm: NormNumbers) -> Tensor:
    """As :func:`frozen_norm_reference` up to rounding, in one operation and in the precision of ``x``.

    The numbers are in fp32, and a factor in fp32 would turn every map of autocast's bf16 back.
    """
    scale, shift = norm.affine()
    return torch.addcmul(shift.to(x.dtype)[:, None, None], x, scale.to(x.dtype)[:, None, None])


def normalized_weights(weight: Tensor, bias: Tensor | None, norm: NormNumbers) -> tuple[Tensor, Tensor]:
    """Weight (C', ...) and bias (C',) of a convolution that also normalises.

    A convolution with them gives :func:`frozen_norm_reference` of the convolution with ``weight`` and ``bias``, up to
    rounding: its map is written once instead of twice, forward and backward.
    """
    scale, shift = norm.affine()
    return weight * scale[:, None, None, None], shift if bias is None else shift + bias * scale
