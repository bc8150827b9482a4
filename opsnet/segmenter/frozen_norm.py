"""BatchNorms that neither move nor learn, in one pass over a map."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torchvision.ops.misc import FrozenBatchNorm2d


class FrozenNorm(FrozenBatchNorm2d):
    """As torchvision's, in one operation instead of two, and in the precision of what it normalises.

    The buffers are in fp32, and a factor in fp32 would turn every map of autocast's bf16 back.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape and type."""
        scale = self.weight * (self.running_var + self.eps).rsqrt()
        shift = self.bias - self.running_mean * scale
        return torch.addcmul(shift.to(x.dtype)[:, None, None], x, scale.to(x.dtype)[:, None, None])


def freeze_norms(model: nn.Module) -> Any:
    """A timm model whose BatchNorms are frozen; those that timm joins with an activation stay timm's."""
    import timm

    frozen = timm.layers.freeze_batch_norm_2d(model)
    plain = [(name, norm) for name, norm in frozen.named_modules() if isinstance(norm, FrozenBatchNorm2d)]
    for name, norm in plain:
        ours = FrozenNorm(len(norm.weight), norm.eps)
        ours.load_state_dict(norm.state_dict())
        frozen.set_submodule(name, ours)
    return frozen
