"""Table 5's baselines: each proposal goes through CLIP as a picture of its own (N passes instead of one)."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

CHUNK = 256  # crops a pass of CLIP


def masked_pictures(images: Tensor, mask_logits: Tensor, size: int, fill: Tensor) -> Tensor:
    """ "Masking": the whole picture at CLIP's size, everything outside the mask replaced by CLIP's mean colour.

    Args:
        images: (B, 3, H, W), RGB in 0..1.
        mask_logits: (B, K, h, w).
        size: of the answer, in pixels a side.
        fill: (3, 1, 1), the colour outside.

    Returns:
        (B * K, 3, size, size).
    """
    inside = F.interpolate((mask_logits >= 0).float(), size=images.shape[-2:], mode="nearest")[:, :, None]
    pictures = images[:, None] * inside + fill * (1 - inside)
    return F.interpolate(pictures.flatten(0, 1), size=(size, size), mode="bilinear", antialias=True)


def cropped_pictures(images: Tensor, mask_logits: Tensor, size: int) -> Tensor:
    """ "Cropping": the box around the mask, background included, resized to CLIP's size.

    Args and returns as :func:`masked_pictures`; a proposal without a mask crops the whole picture.
    """
    inside = F.interpolate((mask_logits >= 0).float(), size=images.shape[-2:], mode="nearest") > 0
    crops = []
    for picture, masks in zip(images, inside, strict=True):
        for rows, columns in zip(masks.any(-1), masks.any(-2), strict=True):
            top, bottom = _extent(rows)
            left, right = _extent(columns)
            box = picture[None, :, top:bottom, left:right]
            crops.append(F.interpolate(box, size=(size, size), mode="bilinear", antialias=True))
    return torch.cat(crops)


def _extent(line: Tensor) -> tuple[int, int]:
    """First index and one past the last where ``line`` is true; all of it where none is."""
    hits = line.nonzero().flatten()
    return (int(hits[0]), int(hits[-1]) + 1) if len(hits) else (0, len(line))


@torch.no_grad()
def embed_pictures(encode: Callable[[Tensor], Tensor], pictures: Tensor, batch: int) -> Tensor:
    """Pictures (B * K, 3, S, S) through CLIP in chunks -> (B, K, D)."""
    embeds = torch.cat([encode(chunk) for chunk in pictures.split(CHUNK)])
    return embeds.unflatten(0, (batch, -1))
