"""Spatial Adapter (paper, section 3.2): CLIP's attention pool, applied to every position instead of pooled.

With the attention uniform, the pool computes c_proj(v_proj(mean of x)). Both are linear, so they may act on each
position first: one 1x1 convolution with W = W_c W_v and b = W_c b_v + b_c.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class SpatialAdapter(nn.Module):
    """Projects CLIP's feature map into the language space and keeps its resolution.

    Args:
        value: the attention pool's value projection, C -> C.
        output: its output projection, C -> D.

    The positional embedding of the pool is left out: without attention over positions it would only add a constant
    that depends on the place, and leaving it out frees the input size.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, *, value: nn.Linear, output: nn.Linear) -> None:
        super().__init__()
        if value.out_features != output.in_features:
            raise ValueError(f"value gives {value.out_features} channels but output takes {output.in_features}")
        with torch.no_grad():  # merged in float64, so that the product is exact to float32's last digit
            w_v, b_v = value.weight.double(), value.bias.double()
            w_c, b_c = output.weight.double(), output.bias.double()
            self.register_buffer("weight", (w_c @ w_v).float()[:, :, None, None], persistent=False)
            self.register_buffer("bias", (w_c @ b_v + b_c).float(), persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        """CLIP's last feature map (B, C, h, w) -> (B, D, h, w)."""
        return F.conv2d(features, self.weight.to(features.dtype), self.bias.to(features.dtype))
