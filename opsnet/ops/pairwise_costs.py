"""Binary cross-entropy and dice of every mask with every ground-truth mask, at points (Mask2Former, section 3.3)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class PairwiseCosts(NamedTuple):
    """Costs of every pair, (..., K, G) each."""

    bce: Tensor
    dice: Tensor


def pairwise_costs_reference(masks: Tensor, truth: Tensor) -> PairwiseCosts:
    """Costs of every pair, computed with one value per pair and point.

    Args:
        masks: (..., K, P), mask logits at P points.
        truth: (..., G, P), ground truth at the same points, 0..1.
    """
    logits, target = masks[..., :, None, :].expand(*_pairs(masks, truth)), truth[..., None, :, :]
    bce = F.binary_cross_entropy_with_logits(logits, target.expand_as(logits), reduction="none").mean(-1)
    inside = logits.sigmoid()
    dice = 1 - (2 * (inside * target).sum(-1) + 1) / (inside.sum(-1) + target.sum(-1) + 1)
    return PairwiseCosts(bce, dice)


def _pairs(masks: Tensor, truth: Tensor) -> tuple[int, ...]:
    """(..., K, G, P)."""
    return (*masks.shape[:-1], truth.shape[-2], masks.shape[-1])


@torch.no_grad()
def pairwise_costs(
    masks: Iterable[Tensor], truth: Tensor, *, scratch: Tensor | None = None
) -> Iterator[PairwiseCosts]:  # fmt: skip
    """Equal to :func:`pairwise_costs_reference` up to rounding, by matrix products, for each decoder layer.

    Args:
        masks: (..., K, P) per layer, all of the same shape; not modified.
        truth: (..., G, P), the same for all layers.
        scratch: buffer of the masks' shape to overwrite; allocated here by default.
    """
    for layer in masks:
        # On a CPU allocating memory for thousands of points takes longer than the computation.
        scratch = torch.empty_like(layer) if scratch is None else scratch
        yield _costs(layer, truth, scratch)


def _costs(masks: Tensor, truth: Tensor, scratch: Tensor) -> PairwiseCosts:
    """Costs of one layer; overwrites ``scratch``, which has the shape of ``masks``."""
    # The binary cross-entropy is softplus(x) - x * t, so a single product with the targets is enough.
    losses = torch.ops.aten.softplus.out(masks, out=scratch)
    bce = (losses.sum(-1, keepdim=True) - _products(masks, truth)) / masks.shape[-1]
    inside = torch.sigmoid(masks, out=scratch)
    areas = inside.sum(-1, keepdim=True) + truth.sum(-1)[..., None, :]
    return PairwiseCosts(bce, 1 - (2 * _products(inside, truth) + 1) / (areas + 1))


def _products(masks: Tensor, truth: Tensor) -> Tensor:
    """(K, P) and (G, P) -> (K, G); in this order nearly twice as fast for masks stored point by point."""
    return (truth @ masks.mT).mT
