"""Cosines with names: the best of the shortlist equal the reference, the others up to rounding to bf16."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from opsnet.ops import cosines as module
from opsnet.ops.cosines import cosines, cosines_reference, shortlisted_cosines, should_shortlist
from opsnet.recognition.modulation import EmbeddingModulation, QueryOnly
from opsnet.recognition.recognizer import cosine_logits, prepare
from opsnet.structures import Embeddings, TextBank

DIM, NAMES, PROPOSALS = 64, 3000, 20


@pytest.fixture(scope="module")
def text() -> torch.Tensor:
    """Names in a narrow cone, like CLIP's text embeddings."""
    generator = torch.Generator().manual_seed(0)
    return F.normalize(torch.randn(NAMES, DIM, generator=generator) + 2 * torch.ones(DIM), dim=-1)


@pytest.fixture(scope="module")
def embeds(text: torch.Tensor) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    near = text[torch.randint(NAMES, (PROPOSALS,), generator=generator)]
    return (3 * near + 0.3 * torch.randn(PROPOSALS, DIM, generator=generator))[None]


def bank(text: torch.Tensor, concepts: int | None = None) -> TextBank:
    """One name per concept, or several names for every concept."""
    count = concepts or len(text)
    concept = None if concepts is None else torch.arange(len(text)) % concepts
    concept = None if concept is None else concept.sort().values
    names = tuple(f"name {i}" for i in range(count))
    return TextBank("many", names, torch.ones(count, dtype=torch.bool), text, concept)


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MANY", 100)
    monkeypatch.setattr(module, "_multiplies_bf16", lambda: True)


def test_bf16_only_would_confuse_names(embeds, text) -> None:
    exact = cosine_logits(embeds, text).topk(5).indices
    rough = (F.normalize(embeds, dim=-1).bfloat16() @ text.bfloat16().T).float().topk(5).indices
    assert not torch.equal(exact, rough)


def test_the_best_five_are_those_of_fp32(embeds, text) -> None:
    all_exact, cosine = cosines_reference(embeds, text), shortlisted_cosines(embeds, text)
    exact, found = all_exact.topk(5), cosine.topk(5)
    assert torch.equal(found.indices, exact.indices)
    torch.testing.assert_close(found.values, exact.values, atol=1e-6, rtol=0)
    torch.testing.assert_close(cosine, all_exact, atol=4e-3, rtol=0)


def test_debiasing_may_raise_a_name_with_a_much_lower_cosine(embeds, text) -> None:
    cosines = F.normalize(embeds, dim=-1) @ text.T
    last = int(cosines[0, 0].argsort()[NAMES // 2])
    divisor = torch.ones(NAMES)
    divisor[last] = 0.01
    found = shortlisted_cosines(embeds, text, divisor)
    assert int((found / divisor)[0, 0].argmax()) == last
    assert found[0, 0, last] == pytest.approx(float(cosines[0, 0, last]), abs=1e-6)


@pytest.mark.parametrize("concepts", [None, 1000])
@pytest.mark.parametrize("mix", [QueryOnly(), EmbeddingModulation()])
def test_a_recognizer_predicts_the_same(mix, concepts, embeds, text, always, monkeypatch) -> None:
    target, train = bank(text, concepts), bank(text[:7])
    both, names = Embeddings(query=embeds, clip=embeds.flip(1)), prepare(target, train)
    with torch.inference_mode():
        short, no_object = mix(both, names, text[0])
        monkeypatch.setattr(module, "should_shortlist", lambda *_: False)
        exact, same = mix(both, names, text[0])
    assert torch.equal(short.topk(5).indices, exact.topk(5).indices)
    assert torch.equal(no_object, same)
    assert not torch.equal(short, exact)  # the rest is rounded
    torch.testing.assert_close(short.softmax(-1), exact.softmax(-1), atol=0.02, rtol=0)


def test_it_is_only_used_at_inference(embeds, text, always) -> None:
    assert not should_shortlist(embeds, text)
    with torch.inference_mode():
        assert should_shortlist(embeds, text)
        assert not should_shortlist(embeds.double(), text)
        assert not should_shortlist(embeds, text[:99])


def test_few_names_and_training_exactly_equal_the_reference(embeds, text) -> None:
    assert torch.equal(cosines(embeds, text), cosines_reference(embeds, text))
    by_hand = F.cosine_similarity(embeds[0, 3].double(), text.double(), dim=-1)
    torch.testing.assert_close(cosines_reference(embeds, text)[0, 3].double(), by_hand, atol=1e-6, rtol=0)


def test_many_names_in_prediction_are_shortlisted(embeds, text, always) -> None:
    divisor = torch.linspace(0.5, 1, NAMES)
    with torch.inference_mode():
        assert torch.equal(cosines(embeds, text, divisor), shortlisted_cosines(embeds, text, divisor))
