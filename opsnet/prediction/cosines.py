"""The cosine behind each listed name, which still ranks names whose probabilities all round to 0.00."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from opsnet.ops.precision import widened
from opsnet.prediction.carriers import NamedSegment, NameScore, PanopticResult
from opsnet.recognition.recognizer import PreparedNames, Recognizer
from opsnet.structures import Embeddings
from opsnet.vocabulary import Vocabulary
from opsnet.vocabulary.name_tree import NameTree


@torch.no_grad()
def with_cosines(
    maps: Sequence[PanopticResult], recognizer: Recognizer, embeddings: Embeddings, names: PreparedNames,
    words: Vocabulary | NameTree,
) -> list[PanopticResult]:  # fmt: skip
    """Maps whose listed names have their cosines.

    Args:
        maps: one per image, B.
        recognizer: the recognizer that scored the names.
        embeddings: query and CLIP, (B, K, D) each.
        names: M target names.
        words: the vocabulary or tree that the labels of listed names index.
    """
    compared = F.normalize(widened(recognizer.compared(embeddings, names)), dim=-1)
    row_of = {node: row for row, node in enumerate(words.words)} if isinstance(words, NameTree) else None
    return [
        replace(named, segments=tuple(_with_cosines(s, compared[i], names, row_of) for s in named.segments))
        for i, named in enumerate(maps)
    ]


def _with_cosines(
    segment: NamedSegment, compared: Tensor, names: PreparedNames, row_of: dict[int, int] | None
) -> NamedSegment:
    """A segment whose names have cosines; ``compared`` (K, D) are the normalised embeddings of its image."""
    if segment.proposal is None or not segment.top:
        return segment
    rows = [name.label if row_of is None else row_of[name.label] for name in segment.top]
    chosen = sorted(set(rows))
    bank = names.target.select(torch.tensor(chosen, device=names.target.embeds.device))
    cosines = bank.max_per_concept(widened(bank.embeds) @ compared[segment.proposal])
    value = dict(zip(chosen, cosines.tolist(), strict=True))
    return replace(segment, top=tuple(replace(n, cosine=value[r]) for n, r in zip(segment.top, rows, strict=True)))


def shown_score(name: NameScore) -> str:
    """The score with two digits, and the cosine where it says more: "0.31", "0.00 (cosine 0.243)"."""
    text = f"{name.score:.2f}"
    return f"{text} (cosine {name.cosine:.3f})" if text == "0.00" and name.cosine is not None else text
