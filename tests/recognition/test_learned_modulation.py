"""Learned modulation: equal to the paper's initially, values computed by hand, and rebuilt from learned values."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from opsnet.recognition.learned_modulation import LearnedModulation
from opsnet.recognition.modulation import EmbeddingModulation
from opsnet.recognition.recognizer import PreparedNames, prepare
from opsnet.structures import Embeddings, TextBank


def bank(embeds: Tensor, concept: list[int] | None = None) -> TextBank:
    count = len(embeds) if concept is None else max(concept) + 1
    rows = None if concept is None else torch.tensor(concept)
    return TextBank("tiny", tuple(map(str, range(count))), torch.ones(count, dtype=torch.bool), embeds, rows)


def random(seed: int, *size: int) -> Tensor:
    return F.normalize(torch.randn(*size, 32, generator=torch.Generator().manual_seed(seed)) + 0.8, dim=-1)


@pytest.fixture
def names() -> PreparedNames:
    """Five concepts, two of them with a synonym; the first is a training name."""
    train = random(0, 9)
    rows = torch.cat((train[:1], random(1, 6)))
    return prepare(bank(rows, [0, 0, 1, 2, 3, 3, 4]), bank(train))


@pytest.fixture
def embeddings() -> Embeddings:
    return Embeddings(random(2, 2, 6) * 3, random(3, 2, 6) * 0.5)


NO_OBJECT = random(4, 1)[0]


def test_initially_it_equals_the_papers_modulation(names, embeddings) -> None:
    ours = LearnedModulation()(embeddings, names, NO_OBJECT)
    paper = EmbeddingModulation(alpha=10, beta=0.5)(embeddings, names, NO_OBJECT)
    assert ours[0].shape == (2, 6, 5)
    for a, b in zip(ours, paper, strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-5)


def test_a_name_by_hand(names, embeddings) -> None:
    """Concept 2 has one name, row 3."""
    given = {"alpha": 3.0, "beta": 0.2, "scale": 1.5, "alpha_slope": -2.0, "beta_slope": 0.7, "scale_slope": -1.0}
    logits, no_object = LearnedModulation(**given)(embeddings, names, NO_OBJECT)
    nearest, far = float(names.nearest[2]), 1 - float(names.similarity)
    assert nearest < 1
    query, clip = (F.normalize(x, dim=-1) for x in (embeddings.query, embeddings.clip))

    def fused(distance: float) -> Tensor:
        return F.normalize(query + 3 * math.exp(-2 * distance) * far * clip, dim=-1)

    cosine = fused(1 - nearest) @ names.target.embeds[3]
    expected = 1.5 * math.exp(nearest - 1) * cosine / 0.01 / nearest ** (0.2 + 0.7 * (1 - nearest))
    torch.testing.assert_close(logits[..., 2], expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(no_object, fused(far) @ NO_OBJECT / 0.01, atol=1e-4, rtol=1e-4)


def test_every_parameter_gets_a_gradient_also_for_detached_embeddings(names, embeddings) -> None:
    learned = LearnedModulation()
    logits, no_object = learned(embeddings, names, NO_OBJECT)
    F.cross_entropy(torch.cat((logits, no_object[..., None]), -1)[0], torch.arange(6)).backward()
    gradients = torch.cat([p.grad for p in learned.parameters()])
    assert gradients.shape == (6,)
    assert bool((gradients.isfinite() & (gradients != 0)).all())


def test_its_settings_rebuild_it_in_its_current_state(names, embeddings) -> None:
    learned = LearnedModulation(alpha=7)
    with torch.no_grad():
        for i, p in enumerate(learned.parameters()):
            p += 0.1 * (i + 1)
    again = LearnedModulation(**learned.settings())
    assert learned.settings()["alpha"] == pytest.approx(7 * math.exp(0.1))
    for a, b in zip(learned(embeddings, names, NO_OBJECT), again(embeddings, names, NO_OBJECT), strict=True):
        torch.testing.assert_close(a, b, atol=1e-3, rtol=1e-5)


@pytest.mark.parametrize("wrong", [{"alpha": 0.0}, {"scale": -1.0}, {"beta_slope": math.nan}, {"beta": math.inf}])
def test_invalid_values_are_refused(wrong) -> None:
    with pytest.raises(ValueError, match=r"modulation\.alpha and modulation\.scale must be above 0"):
        LearnedModulation(**wrong)


def test_logits_have_the_scale_of_the_query(names: PreparedNames) -> None:
    query, clip, void = random(5, 2, 3), random(6, 2, 3), random(7)
    way = LearnedModulation(alpha_slope=0.5, beta_slope=0.2, scale_slope=-0.3)
    plain = way(Embeddings(query, clip), names, void)
    scaled = way(Embeddings(query, clip, query_scale=25.0, clip_scale=3.0), names, void)
    for a, b in zip(plain, scaled, strict=True):
        torch.testing.assert_close(a / 4, b)


def test_an_empty_mask_leaves_the_direction_of_the_query(names: PreparedNames) -> None:
    """A CLIP embedding of zeros: finite, and the ranking is that of the query embedding."""
    query, void = random(5, 1, 4), random(7)
    way = LearnedModulation(beta=0.0)
    logits, _ = way(Embeddings(query, torch.zeros_like(query)), names, void)
    expected = names.target.max_per_concept(query @ names.target.embeds.T)
    assert logits.isfinite().all()
    assert torch.equal(logits.argsort(-1), expected.argsort(-1))
