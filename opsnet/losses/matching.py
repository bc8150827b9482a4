"""Hungarian matching of proposals and ground truth (DETR; Mask2Former, section 3.3)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from opsnet.losses.layer_predictions import LayerPredictions
from opsnet.losses.point_sampling import SharedPoints, sample_points
from opsnet.structures import SegmentTargets


@dataclass(frozen=True)
class Match:
    """Matched pairs of one image: ``proposals`` (P,) and ``targets`` (P,), both indices."""

    proposals: Tensor
    targets: Tensor


@torch.no_grad()
def matching_cost(
    logits: Tensor, masks: Tensor, labels: Tensor, truth: Tensor, *, class_weight: float, bce_weight: float,
    dice_weight: float, scratch: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Cost of every pair, of one image or (with a leading B everywhere) of a batch.

    Args:
        logits: (K, N + 1), the last is no-object.
        masks: (K, P), mask logits at P points.
        labels: (G,).
        truth: (G, P), ground truth at the same points, 0..1.
        scratch: like ``masks``, to be overwritten: on a CPU new memory takes longer than what is computed in it.

    Returns:
        (K, G).
    """
    columns = labels[..., None, :].expand(*logits.shape[:-1], labels.shape[-1])
    name = -logits.softmax(-1).gather(-1, columns)
    # softplus(x) - x * t is the binary cross-entropy: one product with the targets serves both of its terms.
    scratch = torch.empty_like(masks) if scratch is None else scratch
    losses = torch.ops.aten.softplus.out(masks, out=scratch)
    bce = (losses.sum(-1, keepdim=True) - _products(masks, truth)) / masks.shape[-1]
    inside = torch.sigmoid(masks, out=scratch)
    areas = inside.sum(-1, keepdim=True) + truth.sum(-1)[..., None, :]
    dice = 1 - (2 * _products(inside, truth) + 1) / (areas + 1)
    return class_weight * name + bce_weight * bce + dice_weight * dice


def _products(masks: Tensor, truth: Tensor) -> Tensor:
    """(K, P) and (G, P) -> (K, G); in this order nearly twice as fast for masks that lie point by point."""
    return (truth @ masks.mT).mT


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


@dataclass(frozen=True)
class HungarianMatcher:
    """Matches the proposals of each decoder layer with the segments of their image, at the lowest cost.

    Attributes:
        class_weight, bce_weight, dice_weight: of the parts of the cost, Mask2Former's 2, 5, 5. Those of the losses are
            their own.
        points: sampled per mask, here and in the mask losses (Mask2Former: 12,544).
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
            layers: predictions.
            pixels: (B, C, h, w), pixel embeddings.
            targets: of B images.
            truth: (sum of G, H, W) float, the masks of ``targets``.
            points: (B, P, 2), the same for all layers.
        """
        shared = SharedPoints(points)
        with torch.autocast(pixels.device.type, enabled=False):  # costs are sums over thousands of points
            masks = _masks_at(shared, [layer.mask_embeds.float() for layer in layers], pixels.float())
            return self.match_points([layer.logits.float() for layer in layers], masks, shared, targets, truth)

    def match_points(
        self, logits: Sequence[Tensor], masks: Iterable[Tensor], points: SharedPoints, targets: SegmentTargets,
        truth: Tensor,
    ) -> list[Tensor]:  # fmt: skip
        """The same for masks at the points, (B, K, P) of each layer."""
        counts = [len(labels) for labels in targets.labels]
        sampled = [sample_points(t[None], p[None])[0] for t, p in zip(truth.split(counts), points.points, strict=True)]
        padded, labels = pad_sequence(sampled, batch_first=True), pad_sequence(targets.labels, batch_first=True)
        weights = {"class_weight": self.class_weight, "bce_weight": self.bce_weight, "dice_weight": self.dice_weight}
        costs, scratch = [], None
        for x, m in zip(logits, masks, strict=True):
            scratch = torch.empty_like(m) if scratch is None else scratch
            costs.append(matching_cost(x, m, labels, padded, **weights, scratch=scratch))
        # One transfer for all layers and images: each of its own would halt a GPU.
        matrices = torch.stack(costs).float().cpu()
        return list(torch.stack([_pairs(layer, counts) for layer in matrices]).to(truth.device))


def _pairs(costs: Tensor, counts: Sequence[int]) -> Tensor:
    """Costs (B, K, G) of a layer -> image, proposal and segment, counted through all images, of each match; (3, S)."""
    matches = hungarian([cost[:, :n] for cost, n in zip(costs, counts, strict=True)])
    rows = [
        torch.stack((torch.full_like(m.proposals, i), m.proposals, m.targets + sum(counts[:i])))
        for i, m in enumerate(matches)
    ]
    return torch.cat(rows, dim=1)


def _masks_at(points: SharedPoints, embeds: list[Tensor], pixels: Tensor) -> Iterator[Tensor]:
    """Masks of every layer at the points, (B, K, P): whichever comes first, the points or the product, is cheaper.

    All layers share one piece of memory: a layer's masks last until the next are asked for.
    """
    masks = None
    if pixels.shape[-2:].numel() > points.points.shape[1]:
        few = points.read(pixels)
        for e in embeds:
            masks = torch.matmul(e, few, out=masks)
            yield masks
    else:
        table = pixels.permute(0, 2, 3, 1)
        for e in embeds:  # pixel by pixel, the order in which points read them
            everywhere = (table.flatten(1, 2) @ e.mT).unflatten(1, table.shape[1:3])
            masks = points.read(everywhere.permute(0, 3, 1, 2), out=masks)
            yield masks
