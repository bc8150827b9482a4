"""The cosine of each listed name: that of the embedding which the recognizer compares."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from opsnet.inference.settings import parse_recognizer
from opsnet.prediction.carriers import NamedSegment, NameScore, PanopticResult
from opsnet.prediction.cosines import shown_score, with_cosines
from opsnet.prediction.predictor import Predictor
from opsnet.recognition.modulation import ClipOnly, EmbeddingModulation, QueryOnly
from opsnet.recognition.recognizer import prepare
from opsnet.structures import Embeddings, TextBank
from opsnet.vocabulary import Concept, Vocabulary

WORDS = Vocabulary("x", (Concept(1, "sea", True), Concept(2, "tree", True, ("oak",))))
EMBEDS = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])  # sea, tree, oak
BANK = TextBank("x", ("sea", "tree"), torch.tensor([True, True]), EMBEDS, torch.tensor([0, 1, 1]))
NAMES = prepare(BANK, TextBank("t", ("sea",), torch.tensor([True]), EMBEDS[:1]))
BOTH = Embeddings(torch.tensor([[[0.0, 3.0], [2.0, 0.0]]]), torch.tensor([[[0.0, 1.0], [0.0, 5.0]]]))


def named(proposal: int | None) -> PanopticResult:
    top = (NameScore(1, 2, "tree", 1.0), NameScore(0, 1, "sea", 0.0))
    segment = NamedSegment(1, 1, True, proposal=proposal, name="tree", top=top)
    return PanopticResult(torch.ones(1, 1, dtype=torch.int64), (segment,), WORDS)


def cosines(recognizer, proposal: int | None = 1) -> list[float | None]:
    (found,) = with_cosines([named(proposal)], recognizer, BOTH, NAMES, WORDS)
    return [n.cosine for n in found.segments[0].top]


def test_by_hand_with_the_best_synonym() -> None:
    assert cosines(QueryOnly()) == pytest.approx([0.6, 1.0])  # oak and sea for (1, 0)
    assert cosines(ClipOnly()) == pytest.approx([1.0, 0.0])
    similarity = float(NAMES.similarity)
    length = math.hypot(1, 10 * (1 - similarity))
    assert cosines(EmbeddingModulation(alpha=10, beta=0.5))[1] == pytest.approx(1 / length, rel=1e-5)
    assert cosines(parse_recognizer("geometric_ensemble"))[1] == pytest.approx(math.sqrt(0.5), rel=1e-5)
    assert cosines(QueryOnly(), None) == [None, None]  # a map that names no proposal


def test_the_predictor_lists_them_with_every_recognizer_and_in_trees(
    predictor: Predictor, sample_images, tmp_path
) -> None:
    output = predictor.propose(sample_images[0])
    for modulation in ("query_only", "clip_only", "full", "ensemble_2", "geometric_ensemble", "learned"):
        (found,) = predictor.name(output, "red circle, sea, tree", modulation=modulation, top_k=3)
        assert found.segments
        assert all(-1 <= n.cosine <= 1 for s in found.segments for n in s.top)
    bank = predictor.text(Vocabulary.load("red circle, sea, tree"))
    (found,) = predictor.name(output, "red circle, sea, tree", modulation="clip_only", top_k=3)
    segment = found.segments[0]
    expected = F.normalize(output.clip["pooling"][0, segment.proposal], dim=0) @ bank.embeds.T
    assert [n.cosine for n in segment.top] == pytest.approx([float(expected[n.label]) for n in segment.top], abs=1e-5)
    (tmp_path / "tree.yaml").write_text("thing: {circle: [red circle, blue circle]}\nstuff: [grass]\n")
    (found,) = predictor.name(output, tmp_path / "tree.yaml", top_k=2)
    assert all(n.cosine is not None for s in found.segments for n in s.top)


@pytest.mark.parametrize(
    ("score", "cosine", "shown"),
    [(0.31, 0.2, "0.31"), (0.004, 0.2431, "0.00 (cosine 0.243)"), (0.004, None, "0.00"), (0.006, 0.2, "0.01")],
)
def test_it_is_shown_where_the_score_says_nothing(score: float, cosine: float | None, shown: str) -> None:
    assert shown_score(NameScore(0, 1, "sea", score, cosine=cosine)) == shown
