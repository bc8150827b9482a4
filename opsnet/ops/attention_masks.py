"""Attention masks of masked attention (Mask2Former, equation 2): each query attends inside its current predicted mask.

A mask is the product of a mask embedding with the pixel embeddings, and resizing is linear. Resizing the pixel
embeddings once therefore gives the resized masks of every decoder layer, without any mask at full resolution.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


@torch.no_grad()
def resize_pixels(pixels: Tensor, like: Tensor) -> Tensor:
    """Resizes pixel embeddings (B, C, h', w') to the grid of a map (B, ., h, w): (B, C, h * w)."""
    return F.interpolate(pixels, size=like.shape[-2:], mode="bilinear", align_corners=False).flatten(2)


@torch.no_grad()
def attention_masks(mask_embeds: Tensor, resized: Tensor) -> Tensor:
    """Mask embeddings (B, K, C), pixel embeddings of :func:`resize_pixels` -> allowed positions, bool (B, K, h * w).

    The inside of the mask, or every position if it is empty. Equal to :func:`attention_masks_reference` except where a
    mask logit is 0 up to rounding.
    """
    return _inside(mask_embeds @ resized)


@torch.no_grad()
def attention_masks_reference(mask_embeds: Tensor, pixels: Tensor, like: Tensor) -> Tensor:
    """The same from pixel embeddings (B, C, h', w'): masks at full resolution, resized to the grid of ``like``."""
    masks = torch.einsum("bkc, bchw -> bkhw", mask_embeds, pixels)
    return _inside(F.interpolate(masks, size=like.shape[-2:], mode="bilinear", align_corners=False).flatten(2))


def _inside(masks: Tensor) -> Tensor:
    """Mask logits (B, K, L) -> bool."""
    inside = masks >= 0
    return inside | ~inside.any(-1, keepdim=True)
