"""The predictions of one decoder layer, as used by the losses."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class LayerPredictions:
    """Predictions of one decoder layer.

    Attributes:
        logits: (B, K, N + 1), training names and no-object.
        mask_embeds: (B, K, C).
        iou: (B, K), predicted IoU in 0..1.
    """

    logits: Tensor
    mask_embeds: Tensor
    iou: Tensor
