"""Table 5's baselines: each proposal is encoded by CLIP as a separate image (N passes instead of one)."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

CHUNK = 256  # crops per CLIP pass


def mask_images(images: Tensor, mask_logits: Tensor, size: int, fill: Tensor) -> Tensor:
    """ "Masking": the whole image at CLIP's size, with everything outside the mask replaced by CLIP's mean colour.

    Args:
        images: (B, 3, H, W), RGB in 0..1.
        mask_logits: (B, K, h, w).
        size: side length of the output in pixels.
        fill: (3, 1, 1), the colour outside the mask.

    Returns:
        (B * K, 3, size, size).
    """
    inside = F.interpolate((mask_logits >= 0).float(), size=images.shape[-2:], mode="nearest")[:, :, None]
    masked = images[:, None] * inside + fill * (1 - inside)
    return F.interpolate(masked.flatten(0, 1), size=(size, size), mode="bilinear", antialias=True)


def crop_images(images: Tensor, mask_logits: Tensor, size: int) -> Tensor:
    """ "Cropping": the bounding box of the mask, background included, resized to CLIP's size.

    Args and returns as in :func:`mask_images`; for an empty mask the crop is the whole image.
    """
    inside = F.interpolate((mask_logits >= 0).float(), size=images.shape[-2:], mode="nearest") > 0
    crops = []
    for image, masks in zip(images, inside, strict=True):
        for rows, columns in zip(masks.any(-1), masks.any(-2), strict=True):
            top, bottom = _extent(rows)
            left, right = _extent(columns)
            box = image[None, :, top:bottom, left:right]
            crops.append(F.interpolate(box, size=(size, size), mode="bilinear", antialias=True))
    return torch.cat(crops)


def _extent(line: Tensor) -> tuple[int, int]:
    """First index and one past the last index where ``line`` is true; the full range if it never is."""
    hits = line.nonzero().flatten()
    return (int(hits[0]), int(hits[-1]) + 1) if len(hits) else (0, len(line))


@torch.no_grad()
def embed_crops(encode: Callable[[Tensor], Tensor], crops: Tensor, batch: int) -> Tensor:
    """Encodes crops (B * K, 3, S, S) with CLIP in chunks -> (B, K, D)."""
    embeds = torch.cat([encode(chunk) for chunk in crops.split(CHUNK)])
    return embeds.unflatten(0, (batch, -1))
