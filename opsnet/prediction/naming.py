"""Labels proposals: logits -> maps whose segments have names, scores and boxes. No network runs here."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from opsnet.inference.network_output import NetworkOutput
from opsnet.inference.segment import merge
from opsnet.panoptic.mask_filtering import Filtered, MaskFiltering
from opsnet.prediction import arguments
from opsnet.prediction.carriers import UNKNOWN, NamedSegment, NameScore, PanopticResult
from opsnet.recognition.hierarchy import Path, descend, subtree_best
from opsnet.structures import PanopticMap, Segment
from opsnet.vocabulary import Concept, Vocabulary
from opsnet.vocabulary.name_tree import NameTree


@dataclass(frozen=True)
class UnknownRule:
    """Keeps a good mask without a confident name as "unknown" instead of dropping or labelling it.

    Attributes:
        margin: a mask is unknown if the probability of its best name exceeds that of the runner-up, another name or
            no-object, by less than this.
        iou: minimum predicted IoU of a good mask.

    Raises:
        InputError: one of them is outside 0..1.
    """

    margin: float = 0.1
    iou: float = 0.5

    def __post_init__(self) -> None:
        arguments.share("UnknownRule's margin", self.margin)
        arguments.share("UnknownRule's iou", self.iou)


def with_unknown(vocabulary: Vocabulary) -> Vocabulary:
    """The vocabulary with "unknown", a thing, appended as the last concept."""
    return Vocabulary(vocabulary.name, (*vocabulary.concepts, Concept(max(vocabulary.ids) + 1, UNKNOWN, True)))


def label_segments(
    output: NetworkOutput, logits: Tensor, no_object: Tensor, words: Vocabulary | NameTree, *, filtering: MaskFiltering,
    overlap: float, top_k: int = 1, unknown: UnknownRule | None = None, path_margin: float = 0.1,
) -> list[PanopticResult]:  # fmt: skip
    """Mask Filtering and merge, and the names, scores and box of each segment.

    With a tree, proposals are ranked by its top level, because the probability of one of thousands of names is hardly
    informative.

    Args:
        output: network output of B images.
        logits: (B, K, M) of the names; of a tree, those of the concepts that have a text.
        no_object: (B, K).
        words: M concepts, or a tree of them.
        filtering: ranks and drops proposals.
        overlap: see :func:`opsnet.panoptic.merge.merge_panoptic`.
        top_k: number of names listed per segment.
        unknown: keep good masks without a confident name; ``None``: treat them like all others.
        path_margin: see :func:`opsnet.recognition.hierarchy.descend`.

    Returns:
        One map (H, W) per image, at its own size.
    """
    tree = words if isinstance(words, NameTree) else None
    vocabulary = words.vocabulary if isinstance(words, NameTree) else words
    parent = torch.tensor(tree.parent if tree else (), device=logits.device)
    rivals = logits
    if tree is not None:
        logits = _node_logits(logits, tree)
        rivals = subtree_best(logits, parent)[..., parent < 0]
    scores, labels, keep, merge_scores = filtering(rivals, no_object, output.proposals.iou)
    is_unknown = torch.zeros_like(keep)
    shown = vocabulary
    if unknown is not None:
        shown = with_unknown(vocabulary)
        good = output.proposals.iou >= unknown.iou
        is_unknown = good & (_margin(rivals, no_object) < unknown.margin)
        keep = keep | is_unknown
    maps = []
    for i in range(len(output)):
        kept = keep[i].nonzero()[:, 0]
        paths = descend(logits[i, kept], parent, margin=path_margin) if tree else []
        chosen = labels.new_tensor([p[-1][0] for p in paths]) if tree else labels[i, kept]
        chosen = chosen.masked_fill(is_unknown[i, kept], len(vocabulary))
        own = Filtered(scores[i, kept], chosen, keep[i, kept], merge_scores[i, kept])
        merged = merge(output, i, kept, own, shown.is_thing, overlap)
        rows = [_proposal(s) for s in merged.segments]
        top = _top_names(logits[i, rows], no_object[i, rows], vocabulary, top_k)
        path_of = dict(zip(kept.tolist(), paths))
        found = _labelled(merged, shown, top, [path_of[r] for r in rows] if tree else None)
        visible = {proposal for s in merged.segments for proposal in s.proposals}
        maps.append(replace(found, hidden=tuple(k for k in kept.tolist() if k not in visible)))
    return maps


def _node_logits(logits: Tensor, tree: NameTree) -> Tensor:
    """Logits of the concepts with a text -> logits of all nodes; nodes without a text get minus infinity."""
    nodes = logits.new_full((*logits.shape[:-1], len(tree.vocabulary)), -torch.inf)
    nodes[..., list(tree.words)] = logits
    return nodes


def _proposal(segment: Segment) -> int:
    assert segment.proposal is not None
    return segment.proposal


def _margin(logits: Tensor, no_object: Tensor) -> Tensor:
    """Probability of the best name minus that of the runner-up, a name or no-object, (B, K)."""
    total = torch.logaddexp(logits.logsumexp(-1), no_object)
    best = logits.topk(min(2, logits.shape[-1]), dim=-1).values
    rivals = torch.cat((best[..., 1:], no_object[..., None]), dim=-1).amax(-1)
    return (best[..., 0] - total).exp() - (rivals - total).exp()


def _top_names(logits: Tensor, no_object: Tensor, vocabulary: Vocabulary, k: int) -> list[tuple[NameScore, ...]]:
    """The k best names of S segments, from logits (S, M) and (S,); nodes without a text are excluded."""
    total = torch.logaddexp(logits.logsumexp(-1), no_object)
    best = logits.topk(min(k, logits.shape[-1]), dim=-1)
    scores = (best.values - total[:, None]).exp().tolist()
    return [
        tuple(name_score(vocabulary, label, score) for label, score, known in zip(*row, strict=True) if known)
        for row in zip(best.indices.tolist(), scores, best.values.isfinite().tolist(), strict=True)
    ]


def name_score(vocabulary: Vocabulary, label: int, score: float) -> NameScore:
    """A concept with a score."""
    concept = vocabulary.concepts[label]
    return NameScore(label, concept.id, concept.name, score, concept.synonyms)


def _labelled(
    merged: PanopticMap, vocabulary: Vocabulary, top: list[tuple[NameScore, ...]], paths: list[Path] | None
) -> PanopticResult:
    boxes = boxes_of(merged.ids, len(merged.segments))
    segments = []
    for i, (s, best) in enumerate(zip(merged.segments, top, strict=True)):
        name = vocabulary.names[s.label]
        is_on_path = paths is not None and paths[i][-1][0] == s.label  # not for an unknown segment
        path = tuple(name_score(vocabulary, *step) for step in paths[i]) if paths is not None and is_on_path else ()
        segments.append(
            NamedSegment(
                s.id, s.label, s.is_thing, s.score, s.area, s.iou, proposal=s.proposal, proposals=s.proposals,
                name=name, box=boxes[s.id - 1], top=best, path=path,
            )
        )  # fmt: skip
    return PanopticResult(ids=merged.ids, segments=tuple(segments), vocabulary=vocabulary)


def boxes_of(ids: Tensor, count: int) -> list[tuple[int, int, int, int]]:
    """Left, top, width and height in pixels of the segments 1 to ``count`` of a map (H, W); none may be empty."""
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
