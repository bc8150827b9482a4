"""Regression of the predicted IoU (paper, section 3.4)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from opsnet.losses.base import SegmentLoss
from opsnet.losses.predictions import MatchedPredictions


class IoURegression(SegmentLoss):
    """Squared error; the target is the IoU with the ground truth for matched masks, and 0 for all other proposals.

    The weight is not published; with 4 it contributes a tenth of the total after warm-up, like the cross-entropy.
    """

    def forward(self, context: MatchedPredictions) -> Tensor:
        """One value per decoder layer, (L,)."""
        truth, losses = context.truth_of_masks, []
        for layer, (image, proposal, row), masks in zip(context.layers, context.matches, context.masks, strict=True):
            target = torch.zeros_like(layer.iou)
            if len(masks):
                target[image, proposal] = mask_iou(masks.detach() >= 0, truth[row]).to(target.dtype)
            losses.append(F.mse_loss(layer.iou, target))
        return torch.stack(losses)


def mask_iou(predicted: Tensor, truth: Tensor) -> Tensor:
    """IoU of binary masks (S, H, W), pairwise -> (S,); 0 if both are empty."""
    intersection = (predicted & truth).flatten(1).sum(1).float()
    union = (predicted | truth).flatten(1).sum(1).float()
    return intersection / union.clamp(min=1)
