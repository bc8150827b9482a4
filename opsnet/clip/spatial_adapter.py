"""Spatial Adapter (paper, section 3.2): CLIP's attention pool applied to every position instead of pooling.

With uniform attention, the pool computes c_proj(v_proj(mean of x)). Both projections are linear, so they can be applied
to each position: one 1x1 convolution with W = W_c W_v and b = W_c b_v + b_c.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class SpatialAdapter(nn.Module):
    """Projects CLIP's feature map into the language space at its full resolution.

    Args:
        value: the attention pool's value projection, C -> C.
        output: its output projection, C -> D.

    The pool's positional embedding is omitted: without attention over positions it would only add a position-dependent
    constant, and without it any input size can be used.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, *, value: nn.Linear, output: nn.Linear) -> None:
        super().__init__()
        if value.out_features != output.in_features:
            raise ValueError(f"value gives {value.out_features} channels but output takes {output.in_features}")
        with torch.no_grad():  # merged in float64, so that the product is exact in float32
            w_v, b_v = value.weight.double(), value.bias.double()
            w_c, b_c = output.weight.double(), output.bias.double()
            self.register_buffer("weight", (w_c @ w_v).float()[:, :, None, None], persistent=False)
            self.register_buffer("bias", (w_c @ b_v + b_c).float(), persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        """CLIP's last feature map (B, C, h, w) -> (B, D, h, w)."""
        return F.conv2d(features, self.weight.to(features.dtype), self.bias.to(features.dtype))
