"""Hungarian matching of proposals and ground truth (DETR; Mask2Former, section 3.3)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from opsnet.ops.pairwise_costs import pairwise_costs


@dataclass(frozen=True)
class Match:
    """Matched pairs of one image: ``proposals`` (P,) and ``targets`` (P,), both indices."""

    proposals: Tensor
    targets: Tensor


def matching_costs(
    logits: Iterable[Tensor], masks: Iterable[Tensor], labels: Tensor, truth: Tensor, *, class_weight: float,
    bce_weight: float, dice_weight: float, scratch: Tensor | None = None,
) -> list[Tensor]:  # fmt: skip
    """Cost of every pair in each decoder layer, of one image or (with a leading B everywhere) of a batch.

    Args:
        logits: (K, N + 1) of each layer, the last is no-object.
        masks: (K, P) of each layer, mask logits at P points.
        labels: (G,).
        truth: (G, P), ground truth at the same points, 0..1.
        class_weight, bce_weight, dice_weight: of the parts.
        scratch: see :func:`opsnet.ops.pairwise_costs.pairwise_costs`.

    Returns:
        (K, G) of each layer.
    """
    return [
        class_weight * _class_cost(x, labels) + bce_weight * bce + dice_weight * dice
        for x, (bce, dice) in zip(logits, pairwise_costs(masks, truth, scratch=scratch), strict=True)
    ]


def matching_cost(logits: Tensor, masks: Tensor, labels: Tensor, truth: Tensor, **options: Any) -> Tensor:
    """As :func:`matching_costs`, of one layer."""
    return matching_costs([logits], [masks], labels, truth, **options)[0]


@torch.no_grad()
def _class_cost(logits: Tensor, labels: Tensor) -> Tensor:
    """(K, N + 1), (G,) -> (K, G): minus the probability of each label."""
    columns = labels[..., None, :].expand(*logits.shape[:-1], labels.shape[-1])
    return -logits.softmax(-1).gather(-1, columns)


@torch.no_grad()
def hungarian(costs: list[Tensor]) -> list[Match]:
    """The cheapest one-to-one pairs of each cost matrix (K, G).

    A cost that is not finite (a network that diverged) counts as the worst there is, so that the loss can report it.
    """
    matches = []
    for cost in [c.detach().float().cpu() for c in costs]:
        rows, columns = linear_sum_assignment(torch.nan_to_num(cost, nan=1e6, posinf=1e6, neginf=-1e6).numpy())
        matches.append(Match(torch.as_tensor(rows), torch.as_tensor(columns)))
    return matches
