"""Embedding Modulation: the exact identity on training names, and both formulas computed by hand."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from opsnet.recognition.modulation import ClipOnly, EmbeddingModulation, FixedEnsemble, QueryOnly
from opsnet.recognition.recognizer import cosine_logits, domain_similarity, nearest_similarity, prepare
from opsnet.structures import LOGIT_SCALE, Embeddings, TextBank


def bank(embeds: Tensor) -> TextBank:
    names = tuple(f"name {i}" for i in range(len(embeds)))
    return TextBank("tiny", names, torch.ones(len(embeds), dtype=torch.bool), embeds)


def random_bank(seed: int, names: int, dim: int = 64) -> TextBank:
    """Unit vectors; half of the banks lie in a narrow cone like CLIP's text embeddings."""
    generator = torch.Generator().manual_seed(seed)
    cone = 2.0 * (seed % 2) * F.normalize(torch.randn(dim, generator=generator), dim=0)
    return bank(F.normalize(F.normalize(torch.randn(names, dim, generator=generator), dim=-1) + cone, dim=-1))


def random_embeddings(seed: int, dim: int = 64) -> tuple[Embeddings, Tensor]:
    """Both embeddings of 2 x 5 proposals, one of them with an empty mask, and no-object."""
    generator = torch.Generator().manual_seed(1000 + seed)
    query, clip = (torch.randn(2, 5, dim, generator=generator) * scale for scale in (0.3, 7.0))
    clip[0, 0] = 0  # what Mask Pooling returns for an empty mask
    return Embeddings(query, clip), torch.randn(dim, generator=generator)


def angle(*degrees: float) -> Tensor:
    """Unit vectors in the plane."""
    radians = torch.tensor(degrees).deg2rad()
    return torch.stack((radians.cos(), radians.sin()), dim=-1)


# --- the identity on training names ---------------------------------------------------------------


@pytest.mark.parametrize("seed", range(20))
def test_on_the_training_vocabulary_modulation_is_exactly_query_only(seed: int) -> None:
    train = random_bank(seed, names=30)
    embeddings, void = random_embeddings(seed)
    chosen = torch.randperm(30, generator=torch.Generator().manual_seed(seed))
    for target in (train, bank(train.embeds[chosen]), bank(train.embeds[chosen[:7]]), bank(train.embeds[chosen[:1]])):
        assert nearest_similarity(target, train).tolist() == [1.0] * len(target.names)
        assert domain_similarity(target, train) == 1.0
        modulated = EmbeddingModulation(alpha=10.0, beta=0.5)(embeddings, prepare(target, train), void)
        query_only = QueryOnly()(embeddings, prepare(target, train), void)
        assert torch.equal(modulated[0], query_only[0])
        assert torch.equal(modulated[1], query_only[1])


def test_a_name_close_to_a_training_name_is_not_the_identity() -> None:
    train, (embeddings, void) = random_bank(0, names=5), random_embeddings(0)
    near = bank(F.normalize(train.embeds + 0.01 * random_bank(3, names=5).embeds, dim=-1))
    assert 0.999 < domain_similarity(near, train) < 1.0
    modulated, query_only = EmbeddingModulation(), QueryOnly()
    assert not torch.equal(
        modulated(embeddings, prepare(near, train), void)[0], query_only(embeddings, prepare(near, train), void)[0]
    )


# --- similarities by hand -------------------------------------------------------------------------


def test_domain_similarity_by_hand() -> None:
    train, target = bank(angle(0, 90)), bank(angle(0, 30, 100))
    expected = [1.0, math.cos(math.radians(30)), math.cos(math.radians(10))]
    assert nearest_similarity(target, train).tolist() == pytest.approx(expected)
    assert domain_similarity(target, train) == pytest.approx(sum(expected) / 3)


def test_similarity_averages_over_the_target_names() -> None:
    few, many = bank(angle(0)), bank(angle(0, 90))
    assert domain_similarity(few, many) == 1.0
    assert domain_similarity(many, few) == pytest.approx(0.5, abs=1e-3)


def test_opposite_names_stay_above_zero() -> None:
    nearest = nearest_similarity(bank(angle(90, 180)), bank(angle(0)))
    assert (nearest > 0).all()
    logits, _ = EmbeddingModulation()(
        Embeddings(angle(80)[None], angle(80)[None]), prepare(bank(angle(90, 180)), bank(angle(0))), angle(0)[0]
    )
    assert logits.isfinite().all()


def test_cosine_logits_by_hand() -> None:
    logits = cosine_logits(5 * angle(0, 60)[None], 3 * angle(0, 90))
    assert LOGIT_SCALE == 1 / 0.01
    assert logits[0, 0].tolist() == pytest.approx([100.0, 0.0], abs=1e-4)
    assert logits[0, 1].tolist() == pytest.approx([50.0, 100 * math.cos(math.radians(30))])


# --- fusion and debiasing by hand -----------------------------------------------------------------


def test_fusion_and_debiasing_by_hand() -> None:
    """One training name and one at 60 degrees: s = 0.75, so CLIP's weight is 4 * 0.25 = 1."""
    train, target, void = bank(angle(0)), bank(angle(0, 60)), angle(180)[0]
    embeddings = Embeddings(query=2.0 * angle(0)[None], clip=9.0 * angle(40)[None])
    logits, no_object = EmbeddingModulation(alpha=4.0, beta=0.5)(embeddings, prepare(target, train), void)
    # The sum of two unit vectors lies half-way between them, at 20 degrees.
    assert logits[0, 0, 0].item() == pytest.approx(100 * math.cos(math.radians(20)))
    assert logits[0, 0, 1].item() == pytest.approx(100 * math.cos(math.radians(40)) / 0.5**0.5)
    assert no_object.item() == pytest.approx(100 * math.cos(math.radians(160)))  # no name, nothing to divide by


def test_fusion_only() -> None:
    embeddings = Embeddings(query=angle(0)[None], clip=angle(40)[None])
    logits, _ = EmbeddingModulation(alpha=4.0, beta=0.0)(
        embeddings, prepare(bank(angle(0, 60)), bank(angle(0))), angle(180)[0]
    )
    assert logits.flatten().tolist() == pytest.approx([100 * math.cos(math.radians(a)) for a in (20, 40)])


def test_debiasing_only() -> None:
    embeddings = Embeddings(query=angle(20)[None], clip=angle(170)[None])
    logits, _ = EmbeddingModulation(alpha=0.0, beta=2.0)(
        embeddings, prepare(bank(angle(0, 60)), bank(angle(0))), angle(180)[0]
    )
    expected = [100 * math.cos(math.radians(20)), 100 * math.cos(math.radians(40)) / 0.5**2]
    assert logits.flatten().tolist() == pytest.approx(expected)


def test_without_fusion_and_debiasing_only_the_query_is_left() -> None:
    train, target, (embeddings, void) = random_bank(1, 8), random_bank(2, 6), random_embeddings(0)
    found = EmbeddingModulation(alpha=0.0, beta=0.0)(embeddings, prepare(target, train), void)
    expected = QueryOnly()(embeddings, prepare(target, train), void)
    assert torch.equal(found[0], expected[0])
    assert torch.equal(found[1], expected[1])


def test_an_ensemble_of_the_same_strength_is_the_fusion() -> None:
    train, target, (embeddings, void) = random_bank(1, 8), random_bank(2, 6), random_embeddings(0)
    strength = 10.0 * (1 - domain_similarity(target, train))
    fusion = EmbeddingModulation(alpha=10.0, beta=0.0)(embeddings, prepare(target, train), void)
    ensemble = FixedEnsemble(clip_weight=strength)(embeddings, prepare(target, train), void)
    torch.testing.assert_close(fusion[0], ensemble[0])
    torch.testing.assert_close(fusion[1], ensemble[1])


# --- what the four recognizers share -------------------------------------------------------------

WAYS = [QueryOnly(), ClipOnly(), FixedEnsemble(clip_weight=2.0), EmbeddingModulation()]


def by_class(way: object) -> str:
    return type(way).__name__


@pytest.mark.parametrize("way", WAYS, ids=by_class)
def test_the_length_of_an_embedding_does_not_matter(way) -> None:
    train, target, (embeddings, void) = random_bank(1, 8), random_bank(2, 6), random_embeddings(0)
    longer = Embeddings(query=embeddings.query * 30, clip=embeddings.clip * 0.01)
    logits, no_object = way(embeddings, prepare(target, train), void)
    assert logits.shape == (2, 5, 6)
    assert no_object.shape == (2, 5)
    for one, other in zip((logits, no_object), way(longer, prepare(target, train), 8 * void), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_query_only_and_clip_only_use_their_own_embedding() -> None:
    target, void = bank(angle(0, 90)), angle(45)[0]
    embeddings = Embeddings(query=angle(0)[None], clip=angle(90)[None])
    cosine = 100 * math.cos(math.radians(45))
    for way, expected in ((QueryOnly(), [100.0, 0.0]), (ClipOnly(), [0.0, 100.0])):
        logits, no_object = way(embeddings, prepare(target, target), void)
        assert logits.flatten().tolist() == pytest.approx(expected, abs=1e-4)
        assert no_object.item() == pytest.approx(cosine)


def test_the_ensemble_weights_clip() -> None:
    embeddings = Embeddings(query=5 * angle(0)[None], clip=angle(90)[None])
    logits, _ = FixedEnsemble(clip_weight=3.0)(embeddings, prepare(bank(angle(0, 90)), bank(angle(0))), angle(0)[0])
    assert logits.flatten().tolist() == pytest.approx([100 / 10**0.5, 300 / 10**0.5])


@pytest.mark.parametrize(("alpha", "beta"), [(-1.0, 0.5), (10.0, -0.5), (math.inf, 0.5), (10.0, math.nan), (10.0, 1e6)])
def test_invalid_strengths_are_refused(alpha: float, beta: float) -> None:
    with pytest.raises(ValueError, match=rf"alpha must lie in 0\.\.1000 and .*beta in 0\.\.10, got {alpha} and {beta}"):
        EmbeddingModulation(alpha=alpha, beta=beta)


def test_a_concept_uses_the_best_of_its_names() -> None:
    train = bank(angle(0.0, 90.0))
    target = TextBank("tiny", ("a", "b"), torch.ones(2).bool(), angle(10.0, 60.0, 45.0), torch.tensor([0, 0, 1]))
    nearest = nearest_similarity(target, train)
    torch.testing.assert_close(nearest, torch.tensor([10.0, 45.0]).deg2rad().cos())
    query = angle(58.0)[None]  # near the second name of the first concept
    logits, _ = QueryOnly()(Embeddings(query, query), prepare(target, train), angle(180.0)[0])
    torch.testing.assert_close(logits[0, 0] / 100, torch.tensor([2.0, 13.0]).deg2rad().cos())
    modulated, _ = EmbeddingModulation(alpha=0, beta=1)(
        Embeddings(query, query), prepare(target, train), angle(180.0)[0]
    )
    torch.testing.assert_close(modulated, logits / nearest)


def test_trained_concepts_with_synonyms_keep_the_query_logits() -> None:
    random = random_bank(0, names=9)
    train = TextBank("t", ("a", "b", "c"), torch.ones(3).bool(), random.embeds, torch.arange(3).repeat_interleave(3))
    embeddings, void = random_embeddings(3)
    assert domain_similarity(train, train) == 1.0
    expected = QueryOnly()(embeddings, prepare(train, train), void)
    for a, b in zip(EmbeddingModulation()(embeddings, prepare(train, train), void), expected, strict=True):
        assert torch.equal(a, b)


# --- scales of the embeddings -----------------------------------------------------------------------------------------

SCALED = Embeddings(angle(0)[None], angle(90)[None], query_scale=30.0, clip_scale=torch.tensor(50.0))
TWO, VOID = bank(angle(0, 60)), angle(180)[0]


@pytest.mark.parametrize(
    ("way", "expected"),  # of the names at 0 and 60 degrees, and of no-object at 180
    [
        (QueryOnly(), [30.0, 15.0, -30.0]),
        (ClipOnly(), [0.0, 50 * math.cos(math.radians(30)), 0.0]),
        # The sum of both directions lies at 45 degrees. A fusion has the scale of the query.
        (FixedEnsemble(clip_weight=1.0), [30 * math.cos(math.radians(a)) for a in (45, 15, 135)]),
        # s = 0.75, so that alpha = 4 fuses with a weight of 1; the second name is divided by 0.5 ** 0.5.
        (
            EmbeddingModulation(alpha=4.0, beta=0.5),
            [30 * math.cos(math.radians(a)) / b for a, b in ((45, 1), (15, 0.5**0.5), (135, 1))],
        ),
    ],
    ids=lambda x: by_class(x) if not isinstance(x, list) else "",
)
def test_scales_by_hand(way, expected: list[float]) -> None:
    logits, no_object = way(SCALED, prepare(TWO, bank(angle(0))), VOID)
    assert [*logits.flatten().tolist(), no_object.item()] == pytest.approx(expected, abs=1e-4)


def test_a_learned_scale_has_a_gradient() -> None:
    for way in (QueryOnly(), FixedEnsemble(), EmbeddingModulation()):
        scale = torch.tensor(30.0, requires_grad=True)
        logits, _ = way(Embeddings(angle(10)[None], angle(90)[None], scale), prepare(TWO, bank(angle(0))), VOID)
        logits.sum().backward()
        assert scale.grad is not None
        assert scale.grad.item() == pytest.approx(logits.sum().item() / 30, rel=1e-4)


@pytest.mark.parametrize("way", WAYS, ids=by_class)
def test_a_recognizer_is_rebuilt_from_its_settings(way) -> None:
    twin = type(way)(**way.settings())
    assert twin.settings() == way.settings()
    (embeddings, void), names = random_embeddings(1), prepare(random_bank(2, 6), random_bank(1, 8))
    for a, b in zip(way(embeddings, names, void), twin(embeddings, names, void), strict=True):
        assert torch.equal(a, b)
