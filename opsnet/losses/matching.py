"""Hungarian matching of proposals and ground truth (DETR; Mask2Former, section 3.3)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from opsnet.losses.layer_predictions import LayerPredictions
from opsnet.ops.maps_at_points import SharedPoints, masks_at_points, sample_points
from opsnet.ops.pairwise_costs import pairwise_costs
from opsnet.structures import SegmentTargets


@dataclass(frozen=True)
class Match:
    """Matched pairs of one image: ``proposals`` (P,) and ``targets`` (P,), both indices."""

    proposals: Tensor
    targets: Tensor


def matching_costs(
    logits: Iterable[Tensor], masks: Iterable[Tensor], labels: Tensor, truth: Tensor, *, class_weight: float,
    bce_weight: float, dice_weight: float,
) -> list[Tensor]:  # fmt: skip
    """Cost of every pair in each decoder layer, for one image or (with a leading B everywhere) a batch.

    Args:
        logits: (K, N + 1) per layer; the last column is no-object.
        masks: (K, P) per layer, mask logits at P points.
        labels: (G,).
        truth: (G, P), ground truth at the same points, 0..1.
        class_weight, bce_weight, dice_weight: weights of the terms.

    Returns:
        (K, G) per layer.
    """
    return [
        class_weight * _class_cost(x, labels) + bce_weight * bce + dice_weight * dice
        for x, (bce, dice) in zip(logits, pairwise_costs(masks, truth), strict=True)
    ]


def matching_cost(logits: Tensor, masks: Tensor, labels: Tensor, truth: Tensor, **options: Any) -> Tensor:
    """As :func:`matching_costs`, for one layer."""
    return matching_costs([logits], [masks], labels, truth, **options)[0]


@torch.no_grad()
def _class_cost(logits: Tensor, labels: Tensor) -> Tensor:
    """(K, N + 1), (G,) -> (K, G): the negative probability of each label; 0 for segments without a name."""
    columns = labels[..., None, :].expand(*logits.shape[:-1], labels.shape[-1])
    return -logits.softmax(-1).gather(-1, columns.clamp(min=0)).where(columns >= 0, 0)


@torch.no_grad()
def hungarian(costs: list[Tensor]) -> list[Match]:
    """The one-to-one assignment of lowest cost for each cost matrix (K, G).

    A cost that is not finite (the network diverged) is replaced by a very large one, so that the loss can report it.
    """
    matches = []
    for cost in [c.detach().float().cpu() for c in costs]:
        rows, columns = linear_sum_assignment(torch.nan_to_num(cost, nan=1e6, posinf=1e6, neginf=-1e6).numpy())
        matches.append(Match(torch.as_tensor(rows), torch.as_tensor(columns)))
    return matches


@dataclass(frozen=True)
class HungarianMatcher:
    """Matches the proposals of each decoder layer with the segments of their image at the lowest total cost.

    Attributes:
        class_weight, bce_weight, dice_weight: weights of the cost terms (2, 5, 5 in Mask2Former), independent of the
            weights of the losses.
        points: points sampled per mask, here and in the mask losses (12,544 in Mask2Former).
    """

    class_weight: float = 2.0
    bce_weight: float = 5.0
    dice_weight: float = 5.0
    points: int = 12_544

    @torch.no_grad()
    def __call__(
        self, layers: Sequence[LayerPredictions], pixels: Tensor, targets: SegmentTargets, truth: Tensor, points: Tensor
    ) -> list[Tensor]:
        """(image, proposal, row of ``truth``) of each match, (3, S) per layer.

        Args:
            layers: predictions of each layer.
            pixels: (B, C, h, w), pixel embeddings.
            targets: segments of B images.
            truth: (sum of G, H, W) float, the masks of ``targets``.
            points: (B, P, 2), the same for all layers.
        """
        shared = SharedPoints(points)
        with torch.autocast(pixels.device.type, enabled=False):  # costs are sums over thousands of points
            masks = masks_at_points(shared, [layer.mask_embeds.float() for layer in layers], pixels.float())
            return self.match_points([layer.logits.float() for layer in layers], masks, shared, targets, truth)

    def match_points(
        self, logits: Sequence[Tensor], masks: Iterable[Tensor], points: SharedPoints, targets: SegmentTargets,
        truth: Tensor,
    ) -> list[Tensor]:  # fmt: skip
        """The same for masks that are already sampled at the points, (B, K, P) per layer."""
        counts = [len(labels) for labels in targets.labels]
        sampled = [sample_points(t[None], p[None])[0] for t, p in zip(truth.split(counts), points.points, strict=True)]
        padded, labels = pad_sequence(sampled, batch_first=True), pad_sequence(targets.labels, batch_first=True)
        weights = {"class_weight": self.class_weight, "bce_weight": self.bce_weight, "dice_weight": self.dice_weight}
        costs = matching_costs(logits, masks, labels, padded, **weights)
        # A single transfer for all layers and images, because each one synchronizes with the GPU.
        matrices = torch.stack(costs).float().cpu()
        return list(torch.stack([_pairs(layer, counts) for layer in matrices]).to(truth.device))


def _pairs(costs: Tensor, counts: Sequence[int]) -> Tensor:
    """Costs (B, K, G) of a layer -> (image, proposal, segment) of each match, (3, S); segments count across images."""
    matches = hungarian([cost[:, :n] for cost, n in zip(costs, counts, strict=True)])
    rows = [
        torch.stack((torch.full_like(m.proposals, i), m.proposals, m.targets + sum(counts[:i])))
        for i, m in enumerate(matches)
    ]
    return torch.cat(rows, dim=1)
