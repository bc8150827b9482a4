"""Mask losses on sampled points instead of whole masks (PointRend; Mask2Former, section 3.3)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def sample_points(maps: Tensor, points: Tensor) -> Tensor:
    """Bilinear values of maps (B, C, h, w) at points (B, P, 2), (x, y) in 0..1 -> (B, C, P)."""
    return F.grid_sample(maps, 2 * points[:, :, None] - 1, mode="bilinear", align_corners=False)[..., 0]


@torch.no_grad()
def uncertain_points(mask_logits: Tensor, count: int, oversample: float = 3.0, share: float = 0.75) -> Tensor:
    """Points where masks are undecided, and a random rest.

    Args:
        mask_logits: (S, h, w), one map a row.
        count: P, points a row.
        oversample: how many times ``count`` random points are tried.
        share: of ``count`` that goes to the most undecided of them.

    Returns:
        (S, P, 2), (x, y) in 0..1.
    """
    rows, device = mask_logits.shape[0], mask_logits.device
    tried = torch.rand(rows, int(count * oversample), 2, device=device)
    logits = sample_points(mask_logits[:, None], tried)[:, 0]
    chosen = logits.abs().topk(int(count * share), dim=1, largest=False).indices
    undecided = tried.gather(1, chosen[..., None].expand(-1, -1, 2))
    return torch.cat((undecided, torch.rand(rows, count - undecided.shape[1], 2, device=device)), dim=1)
