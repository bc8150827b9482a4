"""Merging named masks into a panoptic map, pixel by pixel.

Mask2Former's inference, its overlap rule included: the pixels that a proposal wins, those outside its own mask
(probability below 0.5) too, are measured against its mask. Only what it wins inside its mask becomes its segment.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from opsnet.structures import PanopticMap, Segment


def upsample_masks(mask_logits: Tensor, padded: tuple[int, int], valid: tuple[int, int]) -> Tensor:
    """Mask logits (K, h, w) of a padded image -> probabilities (K, H, W) of the valid part.

    Args:
        mask_logits: at the segmenter's stride.
        padded: (height, width) in pixels of the padded batch.
        valid: (height, width) in pixels of the image inside it.
    """
    if len(mask_logits) == 0:  # interpolation refuses an empty tensor
        return mask_logits.new_zeros(0, *valid)
    full = F.interpolate(mask_logits[None], size=padded, mode="bilinear", align_corners=False)[0]
    return full[:, : valid[0], : valid[1]].sigmoid_()


def merge_panoptic(
    probabilities: Tensor,
    scores: Tensor,
    labels: Tensor,
    keep: Tensor,
    is_thing: Sequence[bool],
    *,
    iou: Tensor | None = None,
    overlap: float = 0.8,
) -> PanopticMap:
    """Gives each pixel to the proposal with the highest score times mask probability.

    Args:
        probabilities: (K, H, W) in 0..1.
        scores, labels, keep: (K,), from Mask Filtering.
        is_thing: of each label.
        iou: (K,) predicted IoU, carried into the segments.
        overlap: a proposal that wins fewer pixels than this share of its own mask is dropped as hidden by others.

    Returns:
        The map; stuff segments with one label are one segment, things stay apart.
    """
    kept = keep.nonzero().flatten()
    height, width = probabilities.shape[-2:]
    ids = torch.zeros(height, width, dtype=torch.int64, device=probabilities.device)
    if len(kept) == 0:
        return PanopticMap(ids, ())
    masks = probabilities if len(kept) == len(keep) else probabilities[kept]
    original = torch.zeros(len(kept), dtype=torch.int64, device=ids.device)
    winner, won = torch.empty_like(ids), torch.empty_like(ids, dtype=torch.bool)
    for strip in _strips(masks):
        part = masks[:, strip]
        inside = part >= 0.5
        original += inside.flatten(1).sum(1, dtype=torch.int32)
        winner[strip] = _first_largest(scores[kept, None, None] * part)
        won[strip] = inside.gather(0, winner[None, strip])[0]
    winners = torch.bincount(winner.flatten(), minlength=len(kept))
    visible = torch.bincount(winner[won], minlength=len(kept))
    # One transfer of a few numbers an image: a synchronisation a segment is what makes this slow on a GPU.
    ious = (torch.ones_like(scores) if iou is None else iou)[kept]
    columns = (original, winners, visible, scores[kept], labels[kept], ious)
    rows = torch.stack([column.double() for column in columns], dim=1).tolist()
    id_of, segments = _segments(rows, is_thing, overlap)
    lookup = torch.tensor(id_of, device=ids.device)
    ids[won] = lookup[winner[won]]
    return PanopticMap(ids, segments)


_STRIP = 2**20  # numbers; intermediate results of this size are still in the cache when they are read


def _strips(masks: Tensor) -> list[slice]:
    """Rows of masks (K, H, W) to work on at a time: a few on a CPU, all on a GPU."""
    height, width = masks.shape[-2:]
    step = max(1, _STRIP // (len(masks) * width)) if masks.device.type == "cpu" else height
    return [slice(y, y + step) for y in range(0, height, step)]


def _first_largest(values: Tensor) -> Tensor:
    """Index (H, W) of the largest of K values (K, H, W), the first among equals.

    PyTorch's maximum with an index is forty times as slow on a CPU as the one without, which therefore runs twice.
    """
    if values.device.type != "cpu":
        return values.max(0).indices
    count = len(values)
    places = torch.arange(count, 0, -1, dtype=torch.int16)[:, None, None]
    rank = ((values == values.amax(0)) * places).amax(0).clamp_(min=1)  # a maximum that is not a number equals nothing
    return (count - rank).long()


def _segments(
    rows: list[list[float]], is_thing: Sequence[bool], overlap: float
) -> tuple[list[int], tuple[Segment, ...]]:
    """Rows (area of the mask, pixels won, those of them inside, score, label, iou) -> ids (0 = dropped), segments."""
    id_of: list[int] = []
    segments: dict[int, Segment] = {}
    stuff: dict[int, int] = {}
    for original, winners, visible, score, label, iou in rows:
        index = int(label)
        if visible == 0 or winners / original < overlap:
            id_of.append(0)
            continue
        segment_id = stuff.get(index, len(segments) + 1)
        if segment_id in segments:
            old = segments[segment_id]
            area, score, iou = old.area + int(visible), max(old.score, score), max(old.iou, iou)
        else:
            area = int(visible)
        segments[segment_id] = Segment(segment_id, index, is_thing[index], score=score, area=area, iou=iou)
        if not is_thing[index]:
            stuff[index] = segment_id
        id_of.append(segment_id)
    return id_of, tuple(segments.values())
