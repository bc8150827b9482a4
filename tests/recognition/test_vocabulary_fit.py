"""Vocabularies compared by given embeddings: by hand, and with those of a real CLIP (skipped without them)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from opsnet.recognition import vocabulary_fit as module
from opsnet.recognition.modulation import EmbeddingModulation
from opsnet.recognition.recognizer import domain_similarity
from opsnet.recognition.vocabulary_fit import vocabulary_fit
from opsnet.structures import TextBank

REAL = Path(__file__).parents[3] / "shared" / "data" / "clip_text" / "coco80_vitb32_a_name.npy"


def angle(*degrees: float) -> Tensor:
    radians = torch.tensor(degrees).deg2rad()
    return torch.stack((radians.cos(), radians.sin()), dim=-1)


def bank(names: str, embeds: Tensor, concept: list[int] | None = None) -> TextBank:
    words = tuple(names.split())
    owners = torch.tensor(concept) if concept is not None else None
    return TextBank("tiny", words, torch.ones(len(words), dtype=torch.bool), embeds, owners)


def cos(degrees: float) -> float:
    return float(torch.tensor(degrees).deg2rad().cos())


def test_by_hand() -> None:
    train = bank("cat sea", angle(0, 90, 120), [0, 1, 1])  # the sea has two names
    target = bank("kitten cat lake", angle(20, 0, 118, 70), [0, 1, 2, 2])
    fit = vocabulary_fit(target, train, EmbeddingModulation(alpha=10, beta=0.5))
    assert [(c.name, c.nearest) for c in fit.concepts] == [("kitten", "cat"), ("cat", "cat"), ("lake", "sea")]
    assert [c.cosine for c in fit.concepts] == pytest.approx([cos(20), 1, cos(2)])
    assert [c.factor for c in fit.concepts] == pytest.approx([cos(20) ** -0.5, 1, cos(2) ** -0.5])
    assert fit.similarity == pytest.approx((cos(20) + 1 + cos(2)) / 3)
    assert fit.strength == pytest.approx(10 * (1 - fit.similarity))


@pytest.mark.parametrize("at_once", [2, 1024])
def test_look_alikes_are_listed_once_most_similar_first(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_AT_ONCE", at_once)
    target = bank("a b c d", angle(0, 4, 90, 180, 2, 91), [0, 1, 2, 3, 3, 3])
    found = vocabulary_fit(target, target, EmbeddingModulation(), alike=cos(3)).look_alikes
    assert found[0][:2] == ("c", "d")
    assert {pair[:2] for pair in found[1:]} == {("a", "d"), ("b", "d")}
    assert [pair[2] for pair in found] == pytest.approx([cos(1), cos(2), cos(2)])
    assert not vocabulary_fit(target, target, EmbeddingModulation(), alike=cos(0.5)).look_alikes


@pytest.mark.skipif(not REAL.is_file(), reason=f"the real text embeddings are not at {REAL}")
def test_real_cosines() -> None:
    vectors = F.normalize(torch.from_numpy(np.load(REAL)).float(), dim=-1)
    names = " ".join(f"c{i}" for i in range(80))
    everything = bank(names, vectors)
    train = bank(" ".join(f"c{i}" for i in range(0, 80, 2)), vectors[::2])
    own = bank(" ".join(f"c{i}" for i in range(1, 80, 2)), vectors[1::2])
    fit = vocabulary_fit(own, train, EmbeddingModulation(alpha=10, beta=0.5))
    cosines = vectors[1::2].double().numpy() @ vectors[::2].double().numpy().T  # computed independently
    assert [c.nearest for c in fit.concepts] == [f"c{2 * j}" for j in cosines.argmax(1)]
    assert [c.cosine for c in fit.concepts] == pytest.approx(cosines.max(1), abs=1e-6)
    assert [c.factor for c in fit.concepts] == pytest.approx(cosines.max(1) ** -0.5, abs=1e-5)
    assert fit.similarity == pytest.approx(cosines.max(1).mean(), abs=1e-6)
    assert 0.8 < fit.similarity < 0.95  # "nearest 0.88" among all eighty
    assert domain_similarity(everything, everything) == 1.0
