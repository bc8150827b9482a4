"""Merges classified masks into a panoptic map, pixel by pixel.

As in Mask2Former's inference, including its overlap rule: all pixels that a proposal wins, also those outside its mask
(probability below 0.5), are compared with the area of its mask. Its segment is what it wins inside its mask.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from opsnet.ops.contest import contest_codes, in_groups
from opsnet.structures import PanopticMap, Segment


def upsample_masks(
    mask_logits: Tensor, padded: tuple[int, int], valid: tuple[int, int], size: tuple[int, int] | None = None
) -> Tensor:
    """Mask logits (K, h, w) of a padded image -> probabilities (K, H, W) of its valid part.

    Args:
        mask_logits: at the segmenter's stride; or bool (K, H, W), masks at the size of the result, which have the
            probabilities 0 and 1.
        padded: (height, width) in pixels of the padded batch.
        valid: (height, width) in pixels of the image inside it.
        size: (height, width) in pixels of the original image before resizing to ``valid``; the size of the masks.
    """
    size = size or valid
    if mask_logits.dtype == torch.bool:
        return mask_logits.float()
    if len(mask_logits) == 0:  # interpolation does not support empty tensors
        return mask_logits.new_zeros(0, *size)
    full = F.interpolate(mask_logits[None], size=padded, mode="bilinear", align_corners=False)
    full = full[..., : valid[0], : valid[1]]
    if size != valid:  # in two steps, as in Mask2Former's inference
        full = F.interpolate(full, size=size, mode="bilinear", align_corners=False)
    return full[0].sigmoid_()  # in place: of an image of 95 megapixels a mask takes 380 MB


def merge_panoptic(
    probabilities: Tensor,
    scores: Tensor,
    labels: Tensor,
    keep: Tensor,
    is_thing: Sequence[bool],
    *,
    iou: Tensor | None = None,
    merge_scores: Tensor | None = None,
    overlap: float = 0.8,
) -> PanopticMap:
    """Assigns each pixel to the proposal with the highest product of score and mask probability.

    Args:
        probabilities: (K, H, W) in 0..1.
        scores, labels, keep: (K,), from Mask Filtering.
        is_thing: whether each label is a thing.
        iou: (K,) predicted IoU, copied to the segments.
        merge_scores: (K,), used for the competition instead of ``scores``, which are reported with the segments.
        overlap: a proposal that wins fewer pixels than this fraction of its mask is dropped as occluded.

    Returns:
        The map; stuff segments with the same label are joined, things are not.
    """
    kept = keep.nonzero().flatten()
    size = (probabilities.shape[-2], probabilities.shape[-1])
    groups = (probabilities[k] for k in in_groups(kept, size))
    ious = None if iou is None else iou[kept]
    competing = (scores if merge_scores is None else merge_scores)[kept]
    return _merge(groups, scores[kept], labels[kept], is_thing, size, iou=ious, competing=competing, overlap=overlap)


def merge_masks(
    mask_logits: Tensor,
    scores: Tensor,
    labels: Tensor,
    is_thing: Sequence[bool],
    *,
    padded: tuple[int, int],
    valid: tuple[int, int],
    size: tuple[int, int] | None = None,
    iou: Tensor,
    merge_scores: Tensor | None = None,
    overlap: float = 0.8,
) -> PanopticMap:
    """As :func:`merge_panoptic` for mask logits (K, h, w) as in :func:`upsample_masks`, all of them kept.

    On a CPU only a few of them are in memory at full size at a time.
    """
    size = size or valid
    every = torch.arange(len(mask_logits), device=mask_logits.device)
    largest = max(padded, size, key=math.prod)
    groups = (upsample_masks(mask_logits[k], padded, valid, size) for k in in_groups(every, largest))
    competing = scores if merge_scores is None else merge_scores
    return _merge(
        groups, scores, labels, is_thing, size, iou=iou, competing=competing, overlap=overlap,
        binary=mask_logits.dtype == torch.bool,
    )  # fmt: skip


def _merge(
    groups: Iterable[Tensor], scores: Tensor, labels: Tensor, is_thing: Sequence[bool], size: tuple[int, int], *,
    iou: Tensor | None, competing: Tensor, overlap: float, binary: bool = False,
) -> PanopticMap:  # fmt: skip
    """Merges consecutive groups of probabilities (n, H, W) of kept proposals that compete with ``competing``.

    Args:
        binary: all probabilities are 0 or 1, so that nobody wins pixels outside of the masks.
    """
    if len(scores) == 0:
        return PanopticMap(torch.zeros(size, dtype=torch.int64, device=scores.device), ())
    codes = contest_codes(groups, competing, size)
    winners, visible = codes.counts()
    if binary:
        winners = visible
    # One small transfer per image: a synchronization per segment would be slow on a GPU.
    columns = (codes.areas, winners, visible, scores, labels, torch.ones_like(scores) if iou is None else iou)
    rows = torch.stack([column.double() for column in columns], dim=1).tolist()
    id_of, segments = name_segments(rows, is_thing, overlap)
    return PanopticMap(codes.paint(torch.tensor(id_of, device=scores.device)), segments)


def name_segments(
    rows: list[list[float]], is_thing: Sequence[bool], overlap: float
) -> tuple[list[int], tuple[Segment, ...]]:
    """Rows (mask area, pixels won, pixels won inside the mask, score, label, iou) -> ids (0 = dropped), segments."""
    id_of: list[int] = []
    segments: dict[int, Segment] = {}
    stuff: dict[int, int] = {}
    for row, (original, winners, visible, score, label, iou) in enumerate(rows):
        index, proposal = int(label), row
        proposals: tuple[int, ...] = (row,)
        if visible == 0 or winners / original < overlap:
            id_of.append(0)
            continue
        segment_id = stuff.get(index, len(segments) + 1)
        if segment_id in segments:
            old = segments[segment_id]
            proposals = (*old.proposals, row)
            proposal = proposal if score > old.score or old.proposal is None else old.proposal
            area, score, iou = old.area + int(visible), max(old.score, score), max(old.iou, iou)
        else:
            area = int(visible)
        segments[segment_id] = Segment(
            segment_id, index, is_thing[index], score=score, area=area, iou=iou, proposal=proposal, proposals=proposals
        )
        if not is_thing[index]:
            stuff[index] = segment_id
        id_of.append(segment_id)
    return id_of, tuple(segments.values())
