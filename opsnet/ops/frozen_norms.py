"""BatchNorms with fixed statistics and scales, in one pass over a map or folded into the preceding convolution.

Per channel the norm is ``weight * (x - mean) / sqrt(variance + eps) + bias``, that is, a scale and a shift.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class NormNumbers(NamedTuple):
    """The values of a frozen norm: (C,) each, and eps."""

    weight: Tensor
    bias: Tensor
    mean: Tensor
    variance: Tensor
    eps: float

    def affine(self) -> tuple[Tensor, Tensor]:
        """Scale and shift of each channel, (C,) each."""
        scale = self.weight * (self.variance + self.eps).rsqrt()
        return scale, self.bias - self.mean * scale


def frozen_norm_reference(x: Tensor, norm: NormNumbers) -> Tensor:
    """(B, C, H, W) -> same shape, by PyTorch's BatchNorm."""
    return F.batch_norm(x, norm.mean, norm.variance, norm.weight, norm.bias, training=False, eps=norm.eps)


def frozen_norm(x: Tensor, norm: NormNumbers) -> Tensor:
    """Equal to :func:`frozen_norm_reference` up to rounding, in one operation and in the precision of ``x``.

    The values of the norm are cast, because a factor in fp32 would promote the bf16 maps of autocast.
    """
    scale, shift = norm.affine()
    return torch.addcmul(shift.to(x.dtype)[:, None, None], x, scale.to(x.dtype)[:, None, None])


def normalized_weights(weight: Tensor, bias: Tensor | None, norm: NormNumbers) -> tuple[Tensor, Tensor]:
    """Weight (C', ...) and bias (C',) of a convolution followed by a norm.

    A convolution with them equals the convolution with ``weight`` and ``bias`` followed by
    :func:`frozen_norm_reference`, up to rounding, and writes its map once instead of twice, forward and backward.
    """
    scale, shift = norm.affine()
    return weight * scale[:, None, None, None], shift if bias is None else shift + bias * scale
