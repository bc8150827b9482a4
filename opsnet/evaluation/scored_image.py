"""One picture's proposals at full size, read once, and what any number of settings make of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from opsnet.inference.network_output import NetworkOutput
from opsnet.metrics.ground_truth_regions import GroundTruthRegions
from opsnet.metrics.image_overlaps import ImageOverlaps
from opsnet.metrics.panoptic_arithmetic import count_segments
from opsnet.metrics.panoptic_averages import PanopticCounts
from opsnet.metrics.semantic import SemanticCounts, count_semantic
from opsnet.ops.contest import in_groups
from opsnet.panoptic.mask_filtering import Filtered
from opsnet.panoptic.merge import upsample_masks
from opsnet.panoptic.sparse_merge import Merged, SparseMerge
from opsnet.structures import GroundTruth, PanopticMap


@dataclass(frozen=True)
class ImageMasks:
    """The masks of one image, as the network predicts them.

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

    @classmethod
    def of(cls, output: NetworkOutput, index: int) -> ImageMasks:
        """Those of one image of a batch, with maps of ``output.map_sizes``."""
        proposals = output.proposals
        return cls(
            proposals.mask_logits[index], proposals.iou[index], output.padded, output.valid_sizes[index],
            output.map_sizes[index],
        )  # fmt: skip

    def full(self, chosen: Tensor | None = None) -> Tensor:
        """Probabilities (n, H, W) at the truth's size, of the chosen masks or of all."""
        logits = self.logits if chosen is None else self.logits[chosen]
        return upsample_masks(logits, self.padded, self.valid, self.size)


@dataclass(frozen=True)
class Scored:
    """What a row of scores made of a picture: its map, if that was asked for, and its counts against the truth."""

    map: PanopticMap | None
    overlaps: ImageOverlaps
    segments: PanopticCounts
    pixels: SemanticCounts


def score_image(
    masks: ImageMasks, truth: GroundTruth, rows: Filtered, *, with_map: Sequence[bool], is_thing: Sequence[bool],
    overlaps: Sequence[float],
) -> list[Scored]:  # fmt: skip
    """What S settings make of one picture: masks are upsampled once, and settings that agree on it scored once.

    All strengths of the modulation agree in the training domain, for example, and share one answer there.

    Args:
        masks: of K proposals; those that no setting keeps are not upsampled.
        truth: segments of C classes.
        rows: from Mask Filtering, (S, K) each.
        with_map: of each setting, whether its map is asked for.
        is_thing: C flags.
        overlaps: of each setting, the rule of the merge.
    """
    used = rows.keep.any(0).nonzero()[:, 0]
    keep = rows.keep[:, used]
    scores, labels, merge_scores = (v[:, used].where(keep, 0) for v in (rows.scores, rows.labels, rows.merge_scores))
    filtered = Filtered(scores, labels, keep, merge_scores)
    own, place = _different(filtered, overlaps)
    painted = np.zeros(len(own), bool)
    np.logical_or.at(painted, place, np.asarray(with_map, bool))
    regions = GroundTruthRegions.of(truth, len(is_thing))
    merge = SparseMerge(
        (masks.full(k) for k in in_groups(used, masks.size)), regions.index, len(regions), is_thing,
        iou=masks.iou[used],
    )  # fmt: skip
    merged = merge.merge_all(
        Filtered(*(values[own] for values in filtered)), with_map=painted.tolist(), overlaps=[overlaps[i] for i in own]
    )
    counted: dict[tuple[bytes, ...], Scored] = {}
    answers = [_count(one, regions, counted) for one in merged]
    return [answers[i] for i in place]


def _different(filtered: Filtered, overlaps: Sequence[float]) -> tuple[list[int], list[int]]:
    """The first of each group of equal rows (S, K) and rules, and which group each row belongs to."""
    rules = torch.tensor(overlaps, dtype=torch.float64)[:, None]
    columns = torch.cat([rules, *(values.double().cpu() for values in filtered)], dim=1).numpy()
    groups: dict[bytes, int] = {}
    place = [groups.setdefault(row.tobytes(), len(groups)) for row in columns]
    return [place.index(group) for group in range(len(groups))], place


def _count(merged: Merged, regions: GroundTruthRegions, counted: dict[tuple[bytes, ...], Scored]) -> Scored:
    """Counts against the truth, which do not hang on the scores: maps that share their pixels alike count alike."""
    labels = np.array([segment.label for segment in merged.segments], np.int64)
    key = (labels.tobytes(), merged.overlaps.numpy().tobytes())
    if key not in counted:
        overlaps = regions.overlaps(merged.segments, merged.overlaps)
        counts = count_segments(overlaps.pixels, overlaps.truth, overlaps.prediction, overlaps.num_classes)
        counted[key] = Scored(None, overlaps, counts, count_semantic(overlaps))
    return dataclasses.replace(counted[key], map=merged.map)
