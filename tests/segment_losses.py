"""Predictions and targets whose losses can be computed by hand, and Mask2Former's losses on segments."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from opsnet.losses.base import SegmentLoss
from opsnet.losses.cross_entropy import CrossEntropy
from opsnet.losses.dice import Dice
from opsnet.losses.iou import IoURegression
from opsnet.losses.layer_predictions import LayerPredictions
from opsnet.losses.mask_bce import MaskBCE
from opsnet.losses.matching import HungarianMatcher
from opsnet.losses.point_sampling import StepSeeds
from opsnet.losses.predictions import MatchedPredictions
from opsnet.losses.weighted_sum import Losses
from opsnet.structures import SegmentTargets

NAMES, SIZE, POINTS = 3, 64, 64


class Predictions(NamedTuple):
    """The predictions of one layer, with full masks."""

    logits: Tensor
    mask_logits: Tensor
    iou: Tensor


def squares() -> SegmentTargets:
    """One image with two squares of names 2 and 0, one image with a square of name 1, not at the border."""
    masks = torch.zeros(3, SIZE, SIZE, dtype=torch.bool)
    masks[0, 8:28, 8:28] = masks[1, 36:56, 36:56] = masks[2, 16:48, 16:48] = True
    return SegmentTargets([masks[:2], masks[2:]], [torch.tensor([2, 0]), torch.tensor([1])])


def perfect(targets: SegmentTargets, strength: float = 12.0) -> Predictions:
    """Three proposals per image; the last ones match the targets, in order, the others are no-object."""
    batch = len(targets.masks)
    logits, masks, iou = (
        torch.zeros(batch, 3, NAMES + 1),
        torch.full((batch, 3, SIZE, SIZE), -1.0),
        torch.zeros(batch, 3),
    )
    logits[..., NAMES] = strength
    for i, (truth, labels) in enumerate(zip(targets.masks, targets.labels)):
        for k, (mask, label) in enumerate(zip(truth, labels), start=3 - len(labels)):
            logits[i, k] = torch.nn.functional.one_hot(label, NAMES + 1) * strength
            masks[i, k] = 2 * mask.float() - 1
            iou[i, k] = 1.0
    return Predictions(logits, strength * masks, iou)


def uncertain(batch: int = 1, proposals: int = 2, iou: float = 0.5) -> Predictions:
    """Logits of zero everywhere: every expected loss can be computed by hand."""
    zeros = torch.zeros(batch, proposals, 8, 8)
    return Predictions(torch.zeros(batch, proposals, NAMES + 1), zeros, torch.full((batch, proposals), iou))


def one_empty_target() -> SegmentTargets:
    """A target of name 1 with an empty mask: no sampled point is inside."""
    return SegmentTargets([torch.zeros(1, 8, 8, dtype=torch.bool)], [torch.tensor([1])])


def no_targets(batch: int = 1) -> SegmentTargets:
    return SegmentTargets([torch.zeros(0, 8, 8, dtype=torch.bool)] * batch, [torch.zeros(0, dtype=torch.int64)] * batch)


def half_empty() -> SegmentTargets:
    """A target in the first image, none in the second."""
    one, none = one_empty_target(), no_targets()
    return SegmentTargets(one.masks + none.masks, one.labels + none.labels)


def matched(
    layers: list[Predictions], targets: SegmentTargets, points: int = POINTS, seeds: StepSeeds | None = None
) -> MatchedPredictions:
    """Encodes the masks of all layers as pixel embeddings, from which each proposal selects its own; seed 0."""
    torch.manual_seed(0)
    return MatchedPredictions.match(*factor(layers), targets, HungarianMatcher(points=points), seeds)


def factor(layers: list[Predictions]) -> tuple[list[LayerPredictions], Tensor]:
    """Encodes the masks of all layers as pixel embeddings, from which each proposal selects its own."""
    pixels = torch.cat([x.mask_logits for x in layers], dim=1)
    own = torch.eye(pixels.shape[1]).split([x.mask_logits.shape[1] for x in layers])
    embeds = [o.expand(len(pixels), -1, -1) for o in own]
    return [LayerPredictions(x.logits, e, x.iou) for x, e in zip(layers, embeds, strict=True)], pixels


def value(loss: SegmentLoss, layers: list[Predictions], targets: SegmentTargets, points: int = POINTS) -> float:
    """An unweighted loss, summed over the layers."""
    return float(loss(matched(layers, targets, points)).sum())


def mask2former_losses(normalization: str = "rank") -> Losses:
    """The four losses of conf/losses/mask2former.yaml."""
    return Losses(
        {
            "cross_entropy": CrossEntropy(weight=2.0, normalization=normalization),
            "mask_bce": MaskBCE(weight=5.0),
            "dice": Dice(weight=5.0),
            "iou": IoURegression(weight=4.0),
        }
    )
