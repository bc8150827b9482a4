"""The losses of panoptic training: cosine cross-entropy, point-sampled BCE + dice, IoU regression, deep supervision."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from opsnet.losses.matching import hungarian, matching_cost
from opsnet.losses.point_sampling import SharedPoints, StepPoints, StepSeeds, sample_points, undecided_points
from opsnet.structures import SegmentTargets, compute_mask_logits


@dataclass(frozen=True)
class LayerPredictions:
    """Predictions of one decoder layer, as the criterion reads them.

    Attributes:
        logits: (B, K, N + 1), training names and no-object.
        mask_embeds: (B, K, C).
        iou: (B, K) in 0..1.
    """

    logits: Tensor
    mask_embeds: Tensor
    iou: Tensor


class PanopticCriterion(nn.Module):
    """All losses of all decoder layers.

    Args:
        class_weight, bce_weight, dice_weight: Mask2Former's 2, 5, 5; they also weigh the matching cost.
        iou_weight: of the L2 loss on predicted IoU. Not published; 4 gives it a tenth of the total after warm-up,
            as much as the class loss.
        void_weight: of unmatched proposals in the cross-entropy (Mask2Former's 0.1).
        points: sampled a mask, in matching and in the mask losses (Mask2Former: 12,544).
        class_normalization: what the cross-entropy is a weighted mean over. "rank": the proposals of a rank, whose
            gradients DDP then averages, so that a rank with few segments counts each of its proposals more; that is
            Mask2Former's, also where ranks differ. "global": the proposals of all ranks, so that the number of
            processes changes nothing. Masks are always averaged over all ranks, as there.

    Raises:
        ValueError: an unknown ``class_normalization``.
    """

    def __init__(
        self, *, class_weight: float = 2.0, bce_weight: float = 5.0, dice_weight: float = 5.0, iou_weight: float = 4.0,
        void_weight: float = 0.1, points: int = 12_544, class_normalization: str = "rank",
    ) -> None:  # fmt: skip
        super().__init__()
        if class_normalization not in ("rank", "global"):
            raise ValueError(f"class_normalization must be 'rank' or 'global', got {class_normalization!r}")
        self.class_normalization = class_normalization
        self.weights = {"cross_entropy": class_weight, "mask_bce": bce_weight, "dice": dice_weight, "iou": iou_weight}
        self.void_weight, self.points = void_weight, points

    def forward(
        self, layers: Sequence[LayerPredictions], pixels: Tensor, targets: SegmentTargets,
        seeds: StepSeeds | None = None,
    ) -> dict[str, Tensor]:  # fmt: skip
        """Weighted losses by name, averaged over nothing but their own units and summed over layers.

        The mean over the ranks of a distributed training is the loss of all their images as one batch, but for what
        ``class_normalization`` says.

        Args:
            layers: predictions, the last layer's last.
            pixels: (B, C, h, w), pixel embeddings, whose product with ``mask_embeds`` are the masks.
            targets: B images.
            seeds: of the sampled points; ``None`` draws them.

        Returns:
            ``cross_entropy``, ``mask_bce``, ``dice``, ``iou`` and their sum ``loss``; scalars.
        """
        labels, truth = torch.cat(targets.labels), torch.cat(targets.masks).float()
        # Binary at the predictions' resolution for the IoU: a fourth of the pixels, once for all layers.
        small = F.adaptive_avg_pool2d(truth[:, None], (pixels.shape[-2], pixels.shape[-1]))[:, 0] >= 0.5
        points = StepPoints.draw(self.points, seeds or StepSeeds.fresh(len(pixels)), pixels.device)
        matches = self._match(layers, pixels, targets, truth, points)
        proposals = layers[0].mask_embeds.shape[1]
        matched = [min(len(x), proposals) for x in targets.labels]
        masks = _matched_masks(layers, pixels, matches, matched)
        read = _TruthAtPoints(points, truth, [len(x) for x in targets.labels])
        void = self.void_weight * (len(pixels) * proposals - sum(matched))
        class_total = sum(matched) + void
        total, over_ranks = mean_over_ranks((len(labels), class_total), labels.device)
        total = total.clamp(min=1)
        class_total = over_ranks if self.class_normalization == "global" else class_total
        sums: dict[str, Tensor] = {}
        for layer, (image, proposal, row), predicted in zip(layers, matches, masks, strict=True):
            bce, dice = _mask_losses(predicted, image, row, read)
            losses = {
                "cross_entropy": self._class_loss(layer.logits, image, proposal, labels[row]) / class_total,
                "mask_bce": bce / total,
                "dice": dice / total,
                "iou": _iou_loss(layer.iou, predicted, small[row], image, proposal),
            }
            for name, value in losses.items():
                sums[name] = sums.get(name, torch.zeros_like(value)) + self.weights[name] * value
        return {**sums, "loss": torch.stack(list(sums.values())).sum()}

    @torch.no_grad()
    def _match(
        self, layers: Sequence[LayerPredictions], pixels: Tensor, targets: SegmentTargets, truth: Tensor,
        step: StepPoints,
    ) -> list[Tensor]:  # fmt: skip
        """Matched (image, proposal, row of ``truth``) of each layer, (3, S); one set of points an image serves all."""
        points = SharedPoints(step.matching)
        with torch.autocast(pixels.device.type, enabled=False):  # costs are sums over thousands of points
            masks = _masks_at(points, [layer.mask_embeds.float() for layer in layers], pixels.float())
            return self._match_points([layer.logits.float() for layer in layers], masks, points, targets, truth)

    def _match_points(
        self, logits: Sequence[Tensor], masks: Iterable[Tensor], points: SharedPoints, targets: SegmentTargets,
        truth: Tensor,
    ) -> list[Tensor]:  # fmt: skip
        """The same for masks at the points, (B, K, P) of each layer."""
        counts = [len(labels) for labels in targets.labels]
        sampled = [sample_points(t[None], p[None])[0] for t, p in zip(truth.split(counts), points.points, strict=True)]
        padded, labels = pad_sequence(sampled, batch_first=True), pad_sequence(targets.labels, batch_first=True)
        weights = {k: self.weights[w] for k, w in _COST_WEIGHTS.items()}
        costs, scratch = [], None
        for x, m in zip(logits, masks, strict=True):
            scratch = torch.empty_like(m) if scratch is None else scratch
            costs.append(matching_cost(x, m, labels, padded, **weights, scratch=scratch))
        # One transfer for all layers and images: each of its own would halt a GPU.
        matrices = torch.stack(costs).float().cpu()
        starts = [sum(counts[:i]) for i in range(len(counts))]
        pairs = []
        for layer in matrices:
            matches = hungarian([cost[:, :n] for cost, n in zip(layer, counts, strict=True)])
            rows = [
                torch.stack((torch.full_like(m.proposals, i), m.proposals, m.targets + starts[i]))
                for i, m in enumerate(matches)
            ]
            pairs.append(torch.cat(rows, dim=1))
        return list(torch.stack(pairs).to(truth.device))

    def _class_loss(self, logits: Tensor, image: Tensor, proposal: Tensor, label: Tensor) -> Tensor:
        """The weighted sum over all proposals, scalar."""
        void = logits.shape[-1] - 1
        target = torch.full(logits.shape[:2], void, dtype=torch.int64, device=logits.device)
        target[image, proposal] = label
        weight = torch.ones(void + 1, device=logits.device, dtype=logits.dtype)
        weight[void] = self.void_weight
        return F.cross_entropy(logits.flatten(0, 1), target.flatten(), weight, reduction="sum")


class _TruthAtPoints:
    """Ground truth (S, H, W) at the points of a step, read once for all layers."""

    def __init__(self, points: StepPoints, truth: Tensor, counts: Sequence[int]) -> None:
        self.points, self.tried = points, SharedPoints(points.tried[None])
        picture = torch.repeat_interleave(torch.tensor(counts, device=truth.device))
        places = torch.cat((points.tried.expand(len(truth), -1, -1), points.rest[picture]), dim=1)
        self._values = sample_points(truth[:, None], places)[:, 0] if len(truth) else places[..., 0]

    def near(self, predicted: Tensor, image: Tensor, row: Tensor) -> tuple[Tensor, Tensor]:
        """Points of masks (S, h, w), which lie in ``image`` and stand for ``row`` of the truth.

        Returns:
            The points (S, P, 2), and the truth there (S, P).
        """
        rest = self.points.rest[image]
        chosen = undecided_points(predicted.detach().float(), self.tried, self.points.count - rest.shape[1])
        tail = torch.arange(len(self.points.tried), self._values.shape[1], device=row.device).expand(len(row), -1)
        places = torch.cat((F.embedding(chosen, self.points.tried), rest), dim=1)
        return places, self._values[row].gather(1, torch.cat((chosen, tail), dim=1))


def _mask_losses(predicted: Tensor, image: Tensor, row: Tensor, truth: _TruthAtPoints) -> tuple[Tensor, Tensor]:
    """Matched masks (S, h, w) -> BCE, a mean over points, and dice, both summed over the masks."""
    if len(predicted) == 0:
        return predicted.sum() * 0, predicted.sum() * 0
    points, target = truth.near(predicted, image, row)
    logits = sample_points(predicted[:, None].float(), points)[:, 0]
    bce = F.binary_cross_entropy_with_logits(logits, target, reduction="none").mean(1).sum()
    inside = logits.sigmoid()
    dice = 1 - (2 * (inside * target).sum(1) + 1) / (inside.sum(1) + target.sum(1) + 1)
    return bce, dice.sum()


_COST_WEIGHTS = {"class_weight": "cross_entropy", "bce_weight": "mask_bce", "dice_weight": "dice"}


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


def _matched_masks(
    layers: Sequence[LayerPredictions], pixels: Tensor, matches: list[Tensor], counts: list[int]
) -> Tensor:
    """Mask logits (layers, S, h, w) of the matched proposals alone, a few of all: one product an image for all layers.

    Args:
        counts: matched proposals of each image, the same in every layer.
    """
    embeds = torch.stack([x.mask_embeds[image, k] for x, (image, k, _) in zip(layers, matches, strict=True)])
    parts = [
        compute_mask_logits(e.flatten(0, 1)[None], p[None])[0].unflatten(0, e.shape[:2])
        for e, p in zip(embeds.split(counts, dim=1), pixels, strict=True)
    ]
    return torch.cat(parts, dim=1)


def mask_iou(predicted: Tensor, truth: Tensor) -> Tensor:
    """IoU of binary masks (S, H, W), pair by pair -> (S,); 0 where both are empty."""
    intersection = (predicted & truth).flatten(1).sum(1).float()
    union = (predicted | truth).flatten(1).sum(1).float()
    return intersection / union.clamp(min=1)


def _iou_loss(iou: Tensor, predicted: Tensor, truth: Tensor, image: Tensor, proposal: Tensor) -> Tensor:
    """L2 against the IoU of matched masks (S, h, w) with their truth, 0 for all other proposals (section 3.4)."""
    target = torch.zeros_like(iou)
    if len(predicted):
        target[image, proposal] = mask_iou(predicted.detach() >= 0, truth).to(target.dtype)
    return F.mse_loss(iou, target)


def mean_over_ranks(counts: Sequence[float], device: torch.device) -> Tensor:
    """Counts of a rank on average (n,), so that a target weighs the same on a rank with few of them and with many."""
    total = torch.tensor(counts, dtype=torch.float32, device=device)
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.all_reduce(total)
        total = total / torch.distributed.get_world_size()
    return total
