"""Mask Pooling (paper, section 3.2): one CLIP embedding per proposal from a single CLIP pass."""

from __future__ import annotations

from torch import Tensor

from opsnet.ops.adaptive_average import adaptive_average
from opsnet.ops.mask_average import mask_average


def mask_pooling(features: Tensor, mask_logits: Tensor) -> Tensor:
    """Averages CLIP's adapted map inside each binary mask.

    Each position of the map is weighted by the fraction of it that the mask covers, so that small masks still count at
    CLIP's coarse stride; at equal resolution this is the plain mean over the mask.

    Args:
        features: (B, D, h, w).
        mask_logits: (B, K, h', w'), inside where >= 0.

    Returns:
        (B, K, D); zeros for an empty mask.
    """
    inside = (mask_logits >= 0).to(features.dtype)
    weights = (
        adaptive_average(inside, (features.shape[-2], features.shape[-1]))
        if inside.shape[-2:] != features.shape[-2:]
        else inside
    )
    return mask_average(features, weights)
