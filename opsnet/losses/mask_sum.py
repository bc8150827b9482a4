"""Decoupled Supervision: all masks together cover every pixel once (paper, section 3.4, equation 2).

L_sum = || 1 - sum_k sigmoid(M_k) ||_2
"""

from __future__ import annotations

import torch
from torch import Tensor

from opsnet.losses.base import ImageLabelLoss
from opsnet.losses.context import ImageLabelContext

REDUCTIONS = ("rms", "norm")


class MaskSum(ImageLabelLoss):
    """Equation 2, averaged over the images.

    Args:
        weight: 0.4 in the paper.
        reduction: "rms" divides the norm by the square root of the number of pixels, so that the effect of the weight
            does not depend on the image size; "norm" is the norm as printed.

    Raises:
        ValueError: the reduction is unknown.
    """

    def __init__(self, *, weight: float, reduction: str = "rms") -> None:
        super().__init__(weight=weight)
        if reduction not in REDUCTIONS:
            raise ValueError(f"reduction must be one of {', '.join(REDUCTIONS)}, got '{reduction}'")
        self.reduction = reduction

    def forward(self, context: ImageLabelContext) -> Tensor:
        """The loss, a scalar."""
        return mask_sum_loss(context.proposals.mask_logits.float(), context.inside, reduction=self.reduction)


def mask_sum_loss(mask_logits: Tensor, inside: Tensor, *, reduction: str = "rms") -> Tensor:
    """Equation 2, averaged over the images.

    Args:
        mask_logits: (B, K, h, w); all K masks are used, as in the paper.
        inside: (B, h, w) bool, pixels that are not padding; at least one per image.
        reduction: see :class:`MaskSum`.
    """
    missing = (1 - mask_logits.sigmoid().sum(dim=1)) * inside
    # vector_norm has a gradient even if the sum is 1 everywhere; the square root of a mean would not.
    norms = torch.linalg.vector_norm(missing.flatten(1), dim=1)
    if reduction == "rms":
        norms = norms / inside.flatten(1).sum(dim=1).clamp(min=1).sqrt()
    return norms.mean()
