"""Predictions of the decoder layers and their matches with segments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from opsnet.losses.layer_predictions import LayerPredictions
from opsnet.losses.matching import HungarianMatcher
from opsnet.losses.point_sampling import StepPoints, StepSeeds
from opsnet.losses.ranks import mean_over_ranks
from opsnet.losses.sampled_masks import GroundTruthAtPoints, SampledMasks
from opsnet.structures import UNNAMED, SegmentTargets, compute_mask_logits

_Matched = TypeVar("_Matched", bound="MatchedPredictions")


@dataclass(frozen=True)
class MatchedPredictions:
    """Predictions of all decoder layers, matched with the segments of a batch.

    ``S`` is the number of matches per layer, the same in every layer; segments are numbered across all images.

    Attributes:
        layers: predictions of the L layers, in order.
        pixels: (B, C, h, w), pixel embeddings; masks are their products with ``mask_embeds``.
        targets: segments of B images.
        labels: (sum of G,) int64, labels of all segments; some are ``UNNAMED`` if ``has_unnamed``.
        truth: (sum of G, H, W) float, their masks, 0 or 1.
        points: the points of the step at which masks are compared.
        matches: (image, proposal, segment) of each match, (3, S) int64 per layer.
    """

    layers: tuple[LayerPredictions, ...]
    pixels: Tensor
    targets: SegmentTargets
    labels: Tensor
    truth: Tensor
    points: StepPoints
    matches: tuple[Tensor, ...]
    has_unnamed: bool = field(default=False, kw_only=True)

    @classmethod
    def match(
        cls: type[_Matched], layers: Sequence[LayerPredictions], pixels: Tensor, targets: SegmentTargets,
        matcher: HungarianMatcher, seeds: StepSeeds | None = None, **more: Any,
    ) -> _Matched:  # fmt: skip
        """Matches the predictions of every layer.

        Args:
            layers, pixels, targets: see above.
            matcher: matches proposals with segments; it also has the number of points.
            seeds: seeds for the sampled points; ``None`` draws them.
            more: further fields of a subclass.
        """
        labels, truth = torch.cat(targets.labels), torch.cat(targets.masks).float()
        points = StepPoints.draw(matcher.points, seeds or StepSeeds.fresh(len(pixels)), pixels.device)
        matches = matcher(layers, pixels, targets, truth, points.matching)
        return cls(tuple(layers), pixels, targets, labels, truth, points, tuple(matches), **more)

    @property
    def proposals_per_image(self) -> int:
        """K."""
        return self.layers[0].mask_embeds.shape[1]

    @cached_property
    def matches_per_image(self) -> list[int]:
        """Number of matches of each image, the same in every layer."""
        return [min(len(labels), self.proposals_per_image) for labels in self.targets.labels]

    @cached_property
    def named_matches(self) -> int:
        """Number of matches per layer, over all images, whose segments have a name to learn."""
        unnamed = int((self.labels == UNNAMED).sum()) if self.has_unnamed else 0
        return sum(self.matches_per_image) - unnamed

    @cached_property
    def masks(self) -> Tensor:
        """Mask logits (L, S, h, w) of the matched proposals only: one product per image for all layers."""
        pairs = zip(self.layers, self.matches, strict=True)
        embeds = torch.stack([layer.mask_embeds[image, k] for layer, (image, k, _) in pairs])
        parts = [
            compute_mask_logits(e.flatten(0, 1)[None], p[None])[0].unflatten(0, e.shape[:2])
            for e, p in zip(embeds.split(self.matches_per_image, dim=1), self.pixels, strict=True)
        ]
        return torch.cat(parts, dim=1)

    @cached_property
    def truth_of_masks(self) -> Tensor:
        """Ground truth (sum of G, h, w) bool at the resolution of the predictions, computed once for all layers."""
        size = (self.pixels.shape[-2], self.pixels.shape[-1])
        return F.adaptive_avg_pool2d(self.truth[:, None], size)[:, 0] >= 0.5

    @cached_property
    def sampled_masks(self) -> tuple[SampledMasks, ...]:
        """The matched masks of each layer at their most uncertain points and at random points."""
        truth = GroundTruthAtPoints(self.points, self.truth, [len(labels) for labels in self.targets.labels])
        pairs = zip(self.matches, self.masks, strict=True)
        return tuple(truth.sample(predicted, image, row) for (image, _, row), predicted in pairs)

    @cached_property
    def segments_per_rank(self) -> Tensor:
        """Average number of segments per rank, at least 1; a scalar.

        The first use is a collective operation: every rank has to reach it.
        """
        return mean_over_ranks((len(self.labels),), self.labels.device)[0].clamp(min=1)
