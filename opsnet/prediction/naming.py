"""Names for proposals: from logits to maps whose segments carry names, scores and boxes. No network runs here."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from opsnet.panoptic.mask_filtering import MaskFiltering
from opsnet.panoptic.merge import merge_masks
from opsnet.prediction.carriers import UNKNOWN, NamedMap, NamedSegment, NameScore, Proposed
from opsnet.structures import PanopticMap, Segment
from opsnet.vocabulary import Concept, Vocabulary


@dataclass(frozen=True)
class UnknownRule:
    """When a good mask without a convincing name is kept as "unknown" instead of being dropped or named anyhow.

    Attributes:
        margin: it is unknown where its best name's probability is less than this above that of the runner-up, another
            name or no-object.
        iou: a mask is good from this predicted IoU on.
    """

    margin: float = 0.1
    iou: float = 0.5


def with_unknown(vocabulary: Vocabulary) -> Vocabulary:
    """The vocabulary with "unknown", a thing, as its last concept."""
    return Vocabulary(vocabulary.name, (*vocabulary.concepts, Concept(max(vocabulary.ids) + 1, UNKNOWN, True)))


def name_segments(
    proposed: Proposed, logits: Tensor, no_object: Tensor, vocabulary: Vocabulary, *, filtering: MaskFiltering,
    overlap: float, top_k: int = 1, unknown: UnknownRule | None = None,
) -> list[NamedMap]:  # fmt: skip
    """Mask Filtering, merge, and what is known of each segment.

    Args:
        proposed: what the network said of B pictures.
        logits: (B, K, M) of the names.
        no_object: (B, K).
        vocabulary: of M concepts.
        filtering: ranks and drops proposals.
        overlap: see :func:`opsnet.panoptic.merge.merge_panoptic`.
        top_k: names that a segment lists.
        unknown: keep good masks without a convincing name; ``None`` treats them as all others.

    Returns:
        One map (H, W) a picture, at its own size.
    """
    scores, labels, keep = filtering(logits, no_object, proposed.proposals.iou)
    total = torch.logaddexp(logits.logsumexp(-1), no_object)
    shown = vocabulary
    if unknown is not None:
        shown = with_unknown(vocabulary)
        vague = _margin(logits, no_object, total) < unknown.margin
        good = proposed.proposals.iou >= unknown.iou
        labels, keep = labels.masked_fill(vague & good, len(vocabulary)), keep | (vague & good)
    maps = []
    for i in range(len(proposed)):
        kept = keep[i].nonzero()[:, 0]
        merged = _merge(proposed, i, kept, scores[i], labels[i], shown, overlap)
        rows = kept[[s.proposal for s in merged.segments]]
        top = _top_names(logits[i, rows], total[i, rows], vocabulary, top_k)
        maps.append(_named(merged, shown, top))
    return maps


def _margin(logits: Tensor, no_object: Tensor, total: Tensor) -> Tensor:
    """Probability of the best name less that of the runner-up, a name or no-object, (B, K)."""
    best = logits.topk(min(2, logits.shape[-1]), dim=-1).values
    rivals = torch.cat((best[..., 1:], no_object[..., None]), dim=-1).amax(-1)
    return (best[..., 0] - total).exp() - (rivals - total).exp()


def _merge(
    proposed: Proposed, index: int, kept: Tensor, scores: Tensor, labels: Tensor, vocabulary: Vocabulary, overlap: float
) -> PanopticMap:
    padded, full = proposed.full_sizes(index)
    return merge_masks(
        proposed.proposals.mask_logits[index][kept], scores[kept], labels[kept], vocabulary.is_thing,
        padded=padded, valid=full, iou=proposed.proposals.iou[index][kept], overlap=overlap,
    )  # fmt: skip


def _top_names(logits: Tensor, total: Tensor, vocabulary: Vocabulary, k: int) -> list[tuple[NameScore, ...]]:
    """The k best names of S segments, from logits (S, M) and the log of all they share a probability with, (S,)."""
    best = logits.topk(min(k, logits.shape[-1]), dim=-1)
    scores = (best.values - total[:, None]).exp().tolist()
    return [
        tuple(name_score(vocabulary, label, score) for label, score in zip(labels, values, strict=True))
        for labels, values in zip(best.indices.tolist(), scores, strict=True)
    ]


def name_score(vocabulary: Vocabulary, label: int, score: float) -> NameScore:
    """A concept with a score."""
    concept = vocabulary.concepts[label]
    return NameScore(label, concept.id, concept.name, score, concept.synonyms)


def _named(merged: PanopticMap, vocabulary: Vocabulary, top: list[tuple[NameScore, ...]]) -> NamedMap:
    boxes = boxes_of(merged.ids, len(merged.segments))
    segments = [
        _named_segment(s, vocabulary.names[s.label], boxes[s.id - 1], best)
        for s, best in zip(merged.segments, top, strict=True)
    ]
    return NamedMap(ids=merged.ids, segments=tuple(segments), vocabulary=vocabulary)


def _named_segment(
    segment: Segment, name: str, box: tuple[int, int, int, int], top: tuple[NameScore, ...]
) -> NamedSegment:
    return NamedSegment(
        segment.id, segment.label, segment.is_thing, segment.score, segment.area, segment.iou,
        proposal=segment.proposal, name=name, box=box, top=top,
    )  # fmt: skip


def boxes_of(ids: Tensor, count: int) -> list[tuple[int, int, int, int]]:
    """Left, top, width and height in pixels of the segments 1 to ``count`` of a map (H, W), each of a pixel or more."""
    height, width = ids.shape
    rows = torch.zeros(count + 1, height, dtype=torch.bool, device=ids.device)
    columns = torch.zeros(count + 1, width, dtype=torch.bool, device=ids.device)
    rows[ids, torch.arange(height, device=ids.device)[:, None]] = True
    columns[ids, torch.arange(width, device=ids.device)] = True
    sides = []
    for present in (columns[1:].byte(), rows[1:].byte()):
        first = present.argmax(1)
        sides += [first, present.shape[1] - present.flip(1).argmax(1) - first]
    left, across, top, down = sides
    return [(x, y, w, h) for x, y, w, h in torch.stack((left, top, across, down), dim=1).tolist()]
