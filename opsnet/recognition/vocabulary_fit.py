"""Compares class names with the training names, without running the network (paper, section 3.3 and Figure 4)."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from opsnet.recognition.modulation import EmbeddingModulation
from opsnet.recognition.recognizer import nearest_similarity
from opsnet.structures import TextBank

_AT_ONCE = 1024  # rows; for 40,000 names all pairs at once would take gigabytes


@dataclass(frozen=True)
class ConceptFit:
    """One target concept.

    Attributes:
        name: its name.
        nearest: the most similar training concept.
        cosine: cosine of the two, ``max_j H_ij`` in (0, 1].
        factor: factor by which Logits Debiasing multiplies its logits, 1 / cosine ** beta.
    """

    name: str
    nearest: str
    cosine: float
    factor: float


@dataclass(frozen=True)
class VocabularyFit:
    """A target vocabulary compared with a training vocabulary.

    Attributes:
        similarity: s; 1 if all target names are training names.
        strength: alpha (1 - s), CLIP's weight in Embedding Fusion.
        concepts: in the order of the vocabulary.
        look_alikes: pairs of target concepts that CLIP can hardly distinguish, with their cosine, most similar first.
    """

    similarity: float
    strength: float
    concepts: tuple[ConceptFit, ...]
    look_alikes: tuple[tuple[str, str, float], ...]


def vocabulary_fit(
    target: TextBank, train: TextBank, modulation: EmbeddingModulation, *, alike: float = 0.98
) -> VocabularyFit:
    """Compares two text banks.

    Args:
        target: M target concepts.
        train: N training concepts.
        modulation: alpha and beta.
        alike: minimum cosine of two target concepts that count as look-alikes.
    """
    nearest = nearest_similarity(target, train)
    s = float(nearest.double().mean())
    names = _nearest_names(target, train)
    factors = (1 / nearest.double() ** modulation.beta).tolist()
    concepts = map(ConceptFit, target.names, names, nearest.tolist(), factors)
    return VocabularyFit(s, modulation.alpha * (1 - s), tuple(concepts), _look_alikes(target, alike))


def _nearest_names(target: TextBank, train: TextBank) -> list[str]:
    """For each target concept, the training concept with the highest cosine over all pairs of names."""
    best = [(part @ train.embeds.T).max(dim=1) for part in target.embeds.split(_AT_ONCE)]
    cosines, columns = torch.cat([b.values for b in best]), torch.cat([b.indices for b in best])
    found: dict[int, tuple[float, int]] = {}
    for row, cosine, column in zip(target.concept_of_row().tolist(), cosines.tolist(), columns.tolist(), strict=True):
        found[row] = max(found.get(row, (-2.0, 0)), (cosine, column), key=lambda pair: pair[0])
    owners = train.concept_of_row().tolist()
    return [train.names[owners[found[i][1]]] for i in range(len(target.names))]


def _look_alikes(bank: TextBank, alike: float) -> tuple[tuple[str, str, float], ...]:
    """Pairs of concepts with two names whose cosine is at least ``alike``, most similar first."""
    owners, pairs = bank.concept_of_row(), dict[tuple[int, int], float]()
    for begin in range(0, len(bank.embeds), _AT_ONCE):
        cosines = bank.embeds[begin : begin + _AT_ONCE] @ bank.embeds.T
        rows, columns = (cosines >= alike).nonzero().unbind(1)
        for cosine, a, b in zip(
            cosines[rows, columns].tolist(), owners[begin + rows].tolist(), owners[columns].tolist(), strict=True
        ):
            if a < b:
                pairs[a, b] = max(cosine, pairs.get((a, b), -1.0))
    ordered = sorted(pairs.items(), key=lambda item: -item[1])
    return tuple((bank.names[a], bank.names[b], cosine) for (a, b), cosine in ordered)
