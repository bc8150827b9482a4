"""Ceilings: what a panoptic map would score if one step before the merge made no mistake.

Each oracle takes the merge's inputs of one image and its truth, and answers new inputs; the difference in PQ says what
the step loses. ``ORACLES`` names them all, and combinations, for a table.

Pixels inside a mask are those of probability one half or more, as in the merge. IoU is PQ's: the mask's pixels on void
are left out. No oracle is the optimum: the merge follows, and may still take pixels from a mask or hide it.
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
        probabilities: (K, H, W) in 0..1 at the size of the truth.
        scores, labels, keep: (K,), from Mask Filtering; the scores are those that compete in the merge.
    """

    probabilities: Tensor
    scores: Tensor
    labels: Tensor
    keep: Tensor


@dataclass(frozen=True)
class _Overlaps:
    """Column 0 of each table is void or "none", with zeros.

    Attributes:
        ious: (K, 1 + G) double.
        shares: (K, 1 + G) double, the share of each mask's pixels outside void that lie in the truth segment.
        labels: (1 + G,), -1 first.
        is_thing, is_crowd: (1 + G,) bool.
    """

    ious: Tensor
    shares: Tensor
    labels: Tensor
    is_thing: Tensor
    is_crowd: Tensor


def oracle_names(masks: NamedMasks, truth: GroundTruth) -> NamedMasks:
    """Every mask gets the label of the truth segment that it overlaps best.

    Best is the highest IoU; with a crowd region, the share of the mask inside it (COCO's overlap with crowd). A crowd
    cannot outbid a segment of IoU above one half. A mask that overlaps none keeps its label. Scores and ``keep`` stay,
    so the filter still judges as it did.

    Raises:
        UnlistedSegmentError: the truth's map holds an id that its segments lack.
    """
    overlaps = _overlaps(masks.probabilities, truth)
    best, segment = torch.where(overlaps.is_crowd, overlaps.shares, overlaps.ious).max(dim=1)
    return dataclasses.replace(masks, labels=torch.where(best > 0, overlaps.labels[segment], masks.labels))


def oracle_filter(masks: NamedMasks, truth: GroundTruth) -> NamedMasks:
    """Every mask scores its true IoU with the truth segments of its own label, and the hopeless ones are dropped.

    Kept are masks that can match a thing (IoU above one half) and those that lie in their stuff with more than half of
    their pixels, because the merge joins several masks to one stuff segment. Wrong names are dropped so, and crowd
    counts for nothing.

    Raises:
        UnlistedSegmentError: the truth's map holds an id that its segments lack.
    """
    overlaps = _overlaps(masks.probabilities, truth)
    own = (overlaps.labels == masks.labels[:, None]) & ~overlaps.is_crowd
    ious, shares = overlaps.ious * own, overlaps.shares * (own & ~overlaps.is_thing)
    keep = ((ious > 0.5) | (shares > 0.5)).any(dim=1)
    return dataclasses.replace(masks, scores=ious.amax(dim=1).to(masks.scores.dtype), keep=keep)


def oracle_masks(masks: NamedMasks, truth: GroundTruth) -> NamedMasks:
    """The truth's masks, each with the score and the label of the proposal that overlaps it best in IoU.

    There are G masks then, of 0 and 1, those of the segments that have a pixel and are no crowd, and all are kept: true
    masks leave nothing to filter. One proposal may serve several. A segment that none overlaps gets the first one's
    label. The labels were found with the proposals' own masks; nothing is recognised anew.

    With ``oracle_names`` after it PQ is 100, if every stuff class of the truth is one segment and every segment has a
    pixel.

    Raises:
        ValueError: there is no proposal to take a name from.
        UnlistedSegmentError: the truth's map holds an id that its segments lack.
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
"""Every ceiling by the heading of its row; the last is 100 and checks the scoring."""


def _overlaps(probabilities: Tensor, truth: GroundTruth) -> _Overlaps:
    """Compares masks (K, H, W) with every truth segment by one count of the pixels inside the masks."""
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
    # Where a union or an area is 0, nothing is shared.
    ious, shares = shared / unions.clamp(min=1), shared / areas.clamp(min=1)
    return _Overlaps(ious, shares, labels, is_thing == 1, is_crowd == 1)


def _positions(values: Tensor, ids: Tensor) -> Tensor:
    """Where each of ``values`` (P,) stands in ``ids`` (1 + G,)."""
    ordered, order = ids.sort()
    place = torch.searchsorted(ordered, values).clamp(max=len(ids) - 1)
    unlisted = ordered[place] != values
    if unlisted.any():
        raise UnlistedSegmentError("truth", int(values[unlisted][0]))
    return order[place]
