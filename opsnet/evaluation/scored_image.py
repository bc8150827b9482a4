"""Scores one image with any number of settings, upsampling its masks only once."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from opsnet.inference.network_output import NetworkOutput
from opsnet.metrics.ground_truth_regions import GroundTruthRegions
from opsnet.metrics.image_overlaps import ImageOverlaps
from opsnet.metrics.panoptic_arithmetic import count_segments
from opsnet.metrics.panoptic_averages import PanopticCounts
from opsnet.metrics.semantic import SemanticBlock, semantic_block
from opsnet.ops.contest import in_groups
from opsnet.panoptic.dense_merge import DenseMerge, RepeatedMerge
from opsnet.panoptic.mask_filtering import Filtered
from opsnet.panoptic.merge import upsample_masks
from opsnet.panoptic.sparse_merge import Merged, SparseMerge
from opsnet.structures import GroundTruth, PanopticMap

PIXEL_BYTES = 4  # of a mask's probability
MOST_MASK_BYTES = 2**31
"""Of an image's masks at full size, for all settings to share; beyond, they are upsampled again for each setting."""


@dataclass(frozen=True)
class ImageMasks:
    """The masks of one image, as the network predicts them.

    Attributes:
        logits: (K, h, w).
        iou: (K,), predicted.
        padded, valid: (height, width) in pixels of the batch, and of the image inside it.
        size: (height, width) in pixels of the ground truth; differs from ``valid`` if the image was resized.
    """

    logits: Tensor
    iou: Tensor
    padded: tuple[int, int]
    valid: tuple[int, int]
    size: tuple[int, int]

    @classmethod
    def of(cls, output: NetworkOutput, index: int) -> ImageMasks:
        """The masks of one image of a batch, whose map has its size in ``output.map_sizes``."""
        proposals = output.proposals
        return cls(
            proposals.mask_logits[index], proposals.iou[index], output.padded, output.valid_sizes[index],
            output.map_sizes[index],
        )  # fmt: skip

    def full(self, chosen: Tensor) -> Tensor:
        """Probabilities (n, H, W) of the chosen masks, at the size of the ground truth."""
        return upsample_masks(self.logits[chosen], self.padded, self.valid, self.size)


@dataclass(frozen=True)
class ImageResult:
    """One image scored with one setting: its map, if requested, and its counts against the ground truth."""

    map: PanopticMap | None
    overlaps: ImageOverlaps
    segments: PanopticCounts
    pixels: SemanticBlock


def score_image(
    masks: ImageMasks, truth: GroundTruth, rows: Filtered, *, with_map: Sequence[bool], is_thing: Sequence[bool],
    overlaps: Sequence[float],
) -> list[ImageResult]:  # fmt: skip
    """Scores one image with S settings.

    Masks are upsampled once, and settings with identical scores are scored once: in the training domain, for example,
    all strengths of the modulation give the same scores.

    Args:
        masks: masks of K proposals; those that no setting keeps are not upsampled.
        truth: ground-truth segments of C classes.
        rows: output of Mask Filtering, (S, K) each.
        with_map: for each setting, whether its map is requested.
        is_thing: C flags.
        overlaps: for each setting, the merge's overlap threshold.

    Returns:
        One result per setting.
    """
    used = rows.keep.any(0).nonzero()[:, 0]
    keep = rows.keep[:, used]
    scores, labels, merge_scores = (v[:, used].where(keep, 0) for v in (rows.scores, rows.labels, rows.merge_scores))
    filtered = Filtered(scores, labels, keep, merge_scores)
    first, group_of = _distinct(filtered, overlaps)
    draw = np.zeros(len(first), bool)
    np.logical_or.at(draw, group_of, np.asarray(with_map, bool))
    regions = GroundTruthRegions.of(truth, len(is_thing))
    merge = _prepared(masks, used, regions, is_thing)
    merged = merge.merge_all(
        Filtered(*(values[first] for values in filtered)), with_map=draw.tolist(), overlaps=[overlaps[i] for i in first]
    )
    counted: dict[tuple[bytes, ...], ImageResult] = {}
    results = [_count(one, regions, counted) for one in merged]
    return [results[i] for i in group_of]


def _prepared(
    masks: ImageMasks, used: Tensor, regions: GroundTruthRegions, is_thing: Sequence[bool]
) -> SparseMerge | DenseMerge:
    """The masks ``used`` (J,), prepared for merges with many settings, in the way that suits device and memory."""
    shared: Any = (regions.index, len(regions), is_thing)
    groups = (masks.full(k) for k in in_groups(used, masks.size))
    if masks.logits.device.type == "cuda":
        return DenseMerge(groups, *shared, iou=masks.iou[used])
    if len(used) * math.prod(masks.size) * PIXEL_BYTES > MOST_MASK_BYTES:
        return RepeatedMerge(masks.logits[used], masks.padded, masks.valid, *shared, iou=masks.iou[used])
    return SparseMerge(groups, *shared, iou=masks.iou[used])


def _distinct(filtered: Filtered, overlaps: Sequence[float]) -> tuple[list[int], list[int]]:
    """Groups equal rows (S, K) with equal rules: the first row of each group, and the group of each row."""
    rules = torch.tensor(overlaps, dtype=torch.float64)[:, None]
    columns = torch.cat([rules, *(values.double().cpu() for values in filtered)], dim=1).numpy()
    groups: dict[bytes, int] = {}
    group_of = [groups.setdefault(row.tobytes(), len(groups)) for row in columns]
    return [group_of.index(group) for group in range(len(groups))], group_of


def _count(merged: Merged, regions: GroundTruthRegions, counted: dict[tuple[bytes, ...], ImageResult]) -> ImageResult:
    """Counts against the ground truth; they do not depend on scores, so maps with equal pixels are counted once."""
    labels = np.array([segment.label for segment in merged.segments], np.int64)
    key = (labels.tobytes(), merged.overlaps.numpy().tobytes())
    if key not in counted:
        overlaps = regions.overlaps(merged.segments, merged.overlaps)
        counts = count_segments(overlaps.pixels, overlaps.truth, overlaps.prediction, overlaps.num_classes)
        counted[key] = ImageResult(None, overlaps, counts, semantic_block(overlaps))
    return dataclasses.replace(counted[key], map=merged.map)
