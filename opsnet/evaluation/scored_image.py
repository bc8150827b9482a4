"""One picture's proposals at full size, read once, and what any number of settings make of them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from opsnet.metrics.image_overlaps import ImageOverlaps
from opsnet.metrics.panoptic_arithmetic import count_segments
from opsnet.metrics.panoptic_averages import PanopticCounts
from opsnet.metrics.semantic import SemanticCounts, count_semantic
from opsnet.metrics.truth_regions import TruthRegions
from opsnet.panoptic.merge import in_groups, upsample_masks
from opsnet.panoptic.sparse_merge import SparseMerge
from opsnet.structures import PanopticMap, PanopticTruth

Row = tuple[Tensor, Tensor, Tensor]
"""Scores, labels and which proposals to keep, (K,) each."""


@dataclass(frozen=True)
class ImageMasks:
    """The masks of one picture, as the network answers them.

    Attributes:
        logits: (K, h, w).
        iou: (K,), predicted.
        padded, valid: (height, width) in pixels of the batch, and of the picture in it.
        size: (height, width) in pixels of the truth; another than ``valid`` where the picture was resized.
    """

    logits: Tensor
    iou: Tensor
    padded: tuple[int, int]
    valid: tuple[int, int]
    size: tuple[int, int]

    def full(self, chosen: Tensor | None = None) -> Tensor:
        """Probabilities (n, H, W) at the truth's size, of the chosen masks or of all."""
        logits = self.logits if chosen is None else self.logits[chosen]
        return upsample_masks(logits, self.padded, self.valid, self.size)


@dataclass
class Scored:
    """What a row of scores made of a picture: its map, if that was asked for, and its counts against the truth."""

    map: PanopticMap | None
    overlaps: ImageOverlaps
    segments: PanopticCounts
    pixels: SemanticCounts


class ScoredImage:
    """Upsamples once for all settings, and scores those that agree on the picture once.

    Args:
        masks: of K proposals.
        truth: segments of C classes.
        rows: of every setting that will be asked for: masks that none keeps are not upsampled.
        is_thing: C flags.
        overlap: of the merge.
    """

    def __init__(
        self, masks: ImageMasks, truth: PanopticTruth, rows: Collection[Row], *, is_thing: Sequence[bool],
        overlap: float,
    ) -> None:  # fmt: skip
        keep = torch.stack([keep for _, _, keep in rows])
        limits = torch.stack([scores for scores, _, _ in rows]).where(keep, 0).amax(0)
        self.used, self.regions = keep.any(0).nonzero()[:, 0], TruthRegions.of(truth, len(is_thing))
        groups = (masks.full(k) for k in in_groups(self.used, masks.size))
        self.merge = SparseMerge(
            groups, limits[self.used], self.regions.index, len(self.regions), is_thing, iou=masks.iou[self.used],
            overlap=overlap,
        )  # fmt: skip
        self._known: dict[bytes, Scored] = {}

    def score(self, row: Row, *, with_map: bool) -> Scored:
        """What a row makes; the map only if it is asked for.

        Settings that agree on an image, as all strengths of the modulation do in the training domain, share both.
        """
        scores, labels, keep = (values[self.used] for values in row)
        kept = keep.nonzero()[:, 0]
        key = torch.stack((kept.double(), labels[kept].double(), scores[kept].double())).cpu().numpy().tobytes()
        if key not in self._known or (with_map and self._known[key].map is None):
            merged = self.merge.merge(scores, labels, keep, with_map=with_map)
            overlaps = self.regions.overlaps(merged.segments, merged.overlaps)
            counts = count_segments(overlaps.pixels, overlaps.truth, overlaps.prediction, overlaps.num_classes)
            self._known[key] = Scored(merged.map, overlaps, counts, count_semantic(overlaps))
        return self._known[key]
