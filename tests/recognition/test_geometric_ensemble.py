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
