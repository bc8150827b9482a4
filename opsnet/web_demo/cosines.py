"""Cosines of runner-up names, where their scores say nothing.

Scores are a softmax over cosines times 100 (or a learned factor), so that a lead of 0.06 already turns every other name
into 0.00, near ones and absurd ones alike.
"""

from __future__ import annotations

from collections.abc import Mapping

from opsnet.inference.network_output import NetworkOutput
from opsnet.prediction.carriers import NamedSegment, PanopticResult
from opsnet.recognition.recognizer import cosine_logits
from opsnet.structures import TextBank

VISIBLE = 0.005  # scores below are shown as 0.00
Cosines = Mapping[int, tuple[float, ...]]
"""Segment id -> cosine of its CLIP embedding with each of its ``top`` names."""


def clip_cosines(output: NetworkOutput, found: PanopticResult, target: TextBank) -> Cosines:
    """Cosines of the segments whose runner-up scores are all shown as 0.00.

    Args:
        output: network output of one image.
        found: its map, labelled with the names of ``target``.
        target: bank of M names.
    """
    chosen = [s for s in found.segments if s.proposal is not None and has_invisible_scores(s)]
    embeds = output.embeddings().clip[:, [s.proposal for s in chosen]].to(target.embeds.device)
    (cosines,) = target.max_per_concept(cosine_logits(embeds, target.embeds, 1.0)).tolist()
    return {s.id: tuple(row[t.label] for t in s.top) for s, row in zip(chosen, cosines, strict=True)}


def has_invisible_scores(segment: NamedSegment) -> bool:
    """Whether a segment has further names, and all of their scores are shown as 0.00."""
    return len(segment.top) > 1 and all(t.score < VISIBLE for t in segment.top[1:])
