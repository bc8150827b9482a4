"""The geometric ensemble: values computed by hand, and the limits in which it equals one of its two inputs."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from opsnet.recognition.geometric_ensemble import GeometricEnsemble
from opsnet.recognition.modulation import ClipOnly, QueryOnly
from opsnet.recognition.recognizer import prepare
from opsnet.structures import Embeddings, TextBank

NAMES = torch.eye(4)[:3]
VOID = torch.eye(4)[3]


def bank(rows: torch.Tensor) -> TextBank:
    return TextBank("tiny", tuple(map(str, range(len(rows)))), torch.ones(len(rows), dtype=torch.bool), rows)


def with_logits(*logits: float) -> torch.Tensor:
    """An embedding (1, 1, 4) with these logits, up to a constant, for three names and no-object."""
    values = torch.tensor(logits) * 0.01
    remainder = (1 - (values**2).sum()).sqrt()
    return F.normalize(torch.cat((values, remainder[None])), dim=0)[None, None]


def five(rows: torch.Tensor) -> torch.Tensor:
    """In five dimensions: the last one gives vectors unit length and belongs to no name."""
    return F.pad(rows, (0, 1))


QUERY, CLIP = with_logits(2.0, 1.0, 0.0, 1.5), with_logits(0.0, 3.0, 1.0, 9.0)
TARGET, TRAIN, NOTHING = bank(five(NAMES)), bank(five(NAMES[:1])), five(VOID[None])[0]  # the first name was trained


def test_by_hand() -> None:
    names, void = GeometricEnsemble(seen=0.4, unseen=0.8)(Embeddings(QUERY, CLIP), prepare(TARGET, TRAIN), NOTHING)
    p = torch.tensor([2.0, 1.0, 0.0]).softmax(0)
    q = torch.tensor([0.0, 3.0, 1.0]).softmax(0)
    mixed = torch.stack((p[0] ** 0.6 * q[0] ** 0.4, p[1] ** 0.2 * q[1] ** 0.8, p[2] ** 0.2 * q[2] ** 0.8))
    no_object = torch.tensor([2.0, 1.0, 0.0, 1.5]).softmax(0)[3]
    assert torch.allclose(names.exp()[0, 0], mixed / mixed.sum() * (1 - no_object), atol=1e-5)
    assert void.exp().item() == pytest.approx(no_object.item(), abs=1e-5)
    assert (names.exp().sum() + void.exp().sum()).item() == pytest.approx(1, abs=1e-5)


def test_weight_0_is_the_query_and_weight_1_is_clip() -> None:
    embeddings = Embeddings(QUERY, CLIP)
    names, void = GeometricEnsemble(seen=0, unseen=0)(embeddings, prepare(TARGET, TRAIN), NOTHING)
    query = torch.cat([x.flatten() for x in QueryOnly()(embeddings, prepare(TARGET, TRAIN), NOTHING)]).softmax(0)
    assert torch.allclose(torch.cat((names.flatten(), void.flatten())).exp(), query, atol=1e-5)
    names, _ = GeometricEnsemble(seen=1, unseen=1)(embeddings, prepare(TARGET, TRAIN), NOTHING)
    clip, _ = ClipOnly()(embeddings, prepare(TARGET, TRAIN), NOTHING)
    assert torch.allclose(names.softmax(-1), clip.softmax(-1), atol=1e-5)


def test_an_empty_mask_keeps_the_ranking_of_the_query() -> None:
    names, _ = GeometricEnsemble()(Embeddings(QUERY, torch.zeros(1, 1, 5)), prepare(TARGET, bank(five(NAMES))), NOTHING)
    assert names.isfinite().all()
    assert names[0, 0].argsort(descending=True).tolist() == [0, 1, 2]


@pytest.mark.parametrize("weights", [{"seen": -0.1}, {"unseen": 1.1}, {"seen": float("nan")}])
def test_weights_out_of_range_are_refused(weights: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must lie in 0..1"):
        GeometricEnsemble(**weights)


# --- FC-CLIP's and OVRCOAT's options ----------------------------------------------------------------------------------


def probabilities(found: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """Of the names and no-object, (K, M + 1)."""
    return torch.cat((found[0][0], found[1][0][:, None]), dim=-1).exp()


def plainly(
    query: torch.Tensor, void: torch.Tensor, clip: torch.Tensor, weight: torch.Tensor, trust: float = 0.0
) -> torch.Tensor:
    """The published formula with probabilities: logits (K, M), (K,), (K, M), weights (K, M) -> (K, M + 1)."""
    inside, outside = query.softmax(-1), clip.softmax(-1)
    mixed = inside ** (1 - weight) * outside**weight
    nothing = torch.cat((query, void[:, None]), dim=-1).softmax(-1)[:, -1:]
    nothing = nothing * (1 - trust * outside.amax(-1, keepdim=True))
    return torch.cat((mixed / mixed.sum(-1, keepdim=True) * (1 - nothing), nothing), dim=-1)


def random_case() -> tuple[Embeddings, torch.Tensor, torch.Tensor]:
    """Eight proposals with scales of their own, in five dimensions; and cosines with the names and no-object."""
    generator = torch.Generator().manual_seed(0)
    query, clip = (torch.randn(1, 8, 5, generator=generator) for _ in range(2))
    rows = torch.cat((TARGET.embeds, NOTHING[None]))
    cosines = [F.normalize(x, dim=-1)[0] @ rows.T for x in (query, clip)]
    return Embeddings(query, clip, query_scale=9.0, clip_scale=torch.tensor(4.0)), *cosines


SEEN = torch.tensor([0.4, 0.8, 0.8])  # CLIP's weight for each name


@pytest.mark.parametrize("trust", [0.0, 0.5, 1.0])
def test_both_scales_and_the_trust_are_those_of_the_formula(trust: float) -> None:
    embeddings, query, clip = random_case()
    found = GeometricEnsemble(clip_trust=trust)(embeddings, prepare(TARGET, TRAIN), NOTHING)
    expected = plainly(9 * query[:, :3], 9 * query[:, 3], 4 * clip[:, :3], SEEN, trust)
    torch.testing.assert_close(probabilities(found), expected, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(probabilities(found).sum(-1), torch.ones(8))


def test_trust_lowers_no_object_only() -> None:
    embeddings, _, _ = random_case()
    names = prepare(TARGET, TRAIN)
    plain, trusting = (probabilities(GeometricEnsemble(clip_trust=t)(embeddings, names, NOTHING)) for t in (0, 0.5))
    assert (trusting[:, 3] < plain[:, 3]).all()
    assert (trusting[:, 3] > plain[:, 3] / 2).all()
    shares = [p[:, :3] / p[:, :3].sum(-1, keepdim=True) for p in (plain, trusting)]
    torch.testing.assert_close(*shares)


def test_trust_stays_finite_where_both_are_certain() -> None:
    query = clip = 100 * torch.eye(5)[None, [0, 3]]  # a name, and no-object
    for trust in (0.5, 1.0):
        found = GeometricEnsemble(clip_trust=trust)(Embeddings(query, clip), prepare(TARGET, TRAIN), NOTHING)
        assert not any(x.isnan().any() for x in found)
        torch.testing.assert_close(probabilities(found).sum(-1), torch.ones(2))


def test_a_proposal_without_a_clip_embedding_has_the_querys_probabilities() -> None:
    embeddings, query, _ = random_case()
    embeddings.clip[:, 2] = 0
    found = probabilities(GeometricEnsemble()(embeddings, prepare(TARGET, TRAIN), NOTHING))
    torch.testing.assert_close(found[2], (9 * query[2]).softmax(-1), atol=1e-5, rtol=1e-4)
    weight = SEEN.repeat(8, 1)
    weight[2] = 0
    clip = F.normalize(embeddings.clip[0], dim=-1) @ TARGET.embeds.T
    expected = plainly(9 * query[:, :3], 9 * query[:, 3], 4 * clip, weight)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_seen_by_text_or_by_cosine() -> None:
    """By cosine the first name is a training name; by its text the third is, e.g. a synonym of one."""
    embeddings, query, clip = random_case()
    names = prepare(TARGET, TRAIN, same_text=[False, False, True])
    for rule, weight in (("cosine", SEEN), ("text", torch.tensor([0.8, 0.8, 0.4]))):
        found = probabilities(GeometricEnsemble(seen_by=rule)(embeddings, names, NOTHING))
        expected = plainly(9 * query[:, :3], 9 * query[:, 3], 4 * clip[:, :3], weight)
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_where_texts_are_unknown_the_cosine_decides() -> None:
    embeddings, _, _ = random_case()
    by_text, by_cosine = (
        GeometricEnsemble(seen_by=rule)(embeddings, prepare(TARGET, TRAIN), NOTHING) for rule in ("text", "cosine")
    )
    assert all(torch.equal(a, b) for a, b in zip(by_text, by_cosine, strict=True))


def test_flags_follow_a_selection_of_names() -> None:
    names = prepare(TARGET, TRAIN, same_text=[False, True, True]).select(torch.tensor([0, 2]))
    assert names.same_text is not None
    assert names.same_text.tolist() == [False, True]
    assert names.to("cpu").same_text.tolist() == [False, True]


@pytest.mark.parametrize("options", [{"clip_trust": -0.1}, {"clip_trust": 1.5}])
def test_a_trust_out_of_range_is_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"modulation\.clip_trust must lie in 0\.\.1"):
        GeometricEnsemble(**options)


def test_an_unknown_rule_is_refused() -> None:
    with pytest.raises(ValueError, match=r"modulation\.seen_by must be one of cosine, text, got 'name'"):
        GeometricEnsemble(seen_by="name")


def test_it_is_rebuilt_from_its_settings() -> None:
    way = GeometricEnsemble(seen=0.1, unseen=0.9, seen_by="text", clip_trust=0.25)
    assert way.settings() == {"seen": 0.1, "unseen": 0.9, "seen_by": "text", "clip_trust": 0.25}
    assert GeometricEnsemble(**way.settings()).settings() == way.settings()
