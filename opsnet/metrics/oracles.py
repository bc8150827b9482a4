"""Upper bounds: the PQ of a panoptic map if one step before the merge were replaced by the ground truth.

Each oracle takes the merge's inputs for one image and its ground truth and returns new inputs; the difference in PQ is
what the step costs. ``ORACLES`` lists them, and their combinations, by table heading.

A mask's pixels are those with probability >= 0.5, as in the merge. IoU is PQ's: the mask's pixels on void are left out.
No oracle is the true optimum, because the merge still follows and may take pixels from a mask or drop it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from opsnet.metrics.panoptic_arithmetic import UnlistedSegmentError
from opsnet.structures import GroundTruth


@dataclass(frozen=True)
class NamedMasks:
    """The inputs of ``merge_panoptic`` for one image.

    Attributes:
        probabilities: (K, H, W) in 0..1 at the size of the ground truth.
        scores, labels, keep: (K,), from Mask Filtering; the scores are those that compete in the merge.
    """

    probabilities: Tensor
    scores: Tensor
    labels: Tensor
    keep: Tensor


@dataclass(frozen=True)
class _Overlaps:
    """Overlaps of K masks with G ground-truth segments; column 0 stands for void or "none" and is zero.

    Attributes:
        ious: (K, 1 + G) double.
        shares: (K, 1 + G) double, the share of each mask's non-void pixels that lie in the ground-truth segment.
        labels: (1 + G,), -1 first.
        is_thing, is_crowd: (1 + G,) bool.
    """

    ious: Tensor
    shares: Tensor
    labels: Tensor
    is_thing: Tensor
    is_crowd: Tensor


def oracle_names(masks: NamedMasks, truth: GroundTruth) -> NamedMasks:
    """Gives every mask the label of the ground-truth segment that it overlaps best.

    Best is the highest IoU; for a crowd region, the share of the mask inside it (COCO's overlap with crowd). A crowd
    never takes precedence over a segment with IoU > 0.5. A mask that overlaps nothing keeps its label. Scores and
    ``keep`` are unchanged, so filtering stays the same.

    Raises:
        UnlistedSegmentError: the ground-truth map holds an id that its segments do not list.
    """
    overlaps = _overlaps(masks.probabilities, truth)
    best, segment = torch.where(overlaps.is_crowd, overlaps.shares, overlaps.ious).max(dim=1)
    return dataclasses.replace(masks, labels=torch.where(best > 0, overlaps.labels[segment], masks.labels))


def oracle_filter(masks: NamedMasks, truth: GroundTruth) -> NamedMasks:
    """Replaces scores by the actual IoU with the ground-truth segments of the mask's label, and drops useless masks.

    Kept are masks that can match a thing (IoU > 0.5), and masks with more than half of their pixels in stuff of their
    label, because the merge joins several masks into one stuff segment. Masks with a wrong label are therefore dropped;
    crowd is ignored.

    Raises:
        UnlistedSegmentError: the ground-truth map holds an id that its segments do not list.
    """
    overlaps = _overlaps(masks.probabilities, truth)
    own = (overlaps.labels == masks.labels[:, None]) & ~overlaps.is_crowd
    ious, shares = overlaps.ious * own, overlaps.shares * (own & ~overlaps.is_thing)
    keep = ((ious > 0.5) | (shares > 0.5)).any(dim=1)
    return dataclasses.replace(masks, scores=ious.amax(dim=1).to(masks.scores.dtype), keep=keep)


def oracle_masks(masks: NamedMasks, truth: GroundTruth) -> NamedMasks:
    """The ground-truth masks, each with the score and label of the proposal that overlaps it best in IoU.

    The result has one binary mask per non-crowd segment with at least one pixel, and all are kept, since ground-truth
    masks need no filtering. A proposal may be used several times. A segment that no proposal overlaps gets the label of
    the first one. Labels are those predicted with the proposals' own masks; recognition is not repeated.

    Followed by ``oracle_names``, PQ is 100 if every stuff class of the ground truth is one segment and every segment
    has a pixel.

    Raises:
        ValueError: there is no proposal to take a label from.
        UnlistedSegmentError: the ground-truth map holds an id that its segments do not list.
    """
    if len(masks.scores) == 0:
        raise ValueError("oracle_masks needs at least one proposal to take names from, got none")
    ids = truth.ids.to(masks.probabilities.device)
    wanted = torch.tensor([s.id for s in truth.segments if not s.is_crowd], dtype=torch.int64, device=ids.device)
    true = ids == wanted[:, None, None]
    overlaps = _overlaps(masks.probabilities, truth)
    ious = overlaps.ious[:, 1:][:, ~overlaps.is_crowd[1:]]
    seen = true.flatten(1).any(dim=1)
    source = ious[:, seen].argmax(dim=0)
    return NamedMasks(
        probabilities=true[seen].to(masks.probabilities.dtype),
        # A score of 0 would not win the mask's own pixels.
        scores=masks.scores[source].clamp(min=1e-6),
        labels=masks.labels[source],
        keep=torch.ones_like(source, dtype=torch.bool),
    )


Oracle = Callable[[NamedMasks, GroundTruth], NamedMasks]


def _both(first: Oracle, second: Oracle) -> Oracle:
    return lambda masks, truth: second(first(masks, truth), truth)


ORACLES: dict[str, Oracle] = {
    "names": oracle_names,
    "filter": oracle_filter,
    "masks": oracle_masks,
    "names + filter": _both(oracle_names, oracle_filter),
    "masks + names": _both(oracle_masks, oracle_names),
}
"""Table heading -> oracle; the last one yields 100 and checks the scoring."""


def _overlaps(probabilities: Tensor, truth: GroundTruth) -> _Overlaps:
    """Compares masks (K, H, W) with all ground-truth segments in a single count of the masks' pixels."""
    device, size = probabilities.device, 1 + len(truth.segments)
    columns = [(0, -1, False, False), *((s.id, s.label, s.is_thing, s.is_crowd) for s in truth.segments)]
    ids, labels, is_thing, is_crowd = torch.tensor(columns, dtype=torch.int64, device=device).T
    segment = _positions(truth.ids.to(device).flatten(), ids)
    proposal, pixel = (probabilities.flatten(1) >= 0.5).nonzero(as_tuple=True)
    counts = torch.bincount(proposal * size + segment[pixel], minlength=len(probabilities) * size).view(-1, size)
    areas = counts[:, 1:].sum(dim=1, keepdim=True)
    shared = counts.double()
    shared[:, 0] = 0
    unions = areas + torch.bincount(segment, minlength=size) - shared
    # Where a union or an area is 0, the overlap is 0 too.
    ious, shares = shared / unions.clamp(min=1), shared / areas.clamp(min=1)
    return _Overlaps(ious, shares, labels, is_thing == 1, is_crowd == 1)


def _positions(values: Tensor, ids: Tensor) -> Tensor:
    """The position of each of ``values`` (P,) in ``ids`` (1 + G,)."""
    ordered, order = ids.sort()
    place = torch.searchsorted(ordered, values).clamp(max=len(ids) - 1)
    unlisted = ordered[place] != values
    if unlisted.any():
        raise UnlistedSegmentError("truth", int(values[unlisted][0]))
    return order[place]
