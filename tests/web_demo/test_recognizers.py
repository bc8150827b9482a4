"""The recognizers that work for a model, its own first."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from opsnet.recognition.geometric_ensemble import GeometricEnsemble
from opsnet.recognition.learned_modulation import LearnedModulation
from opsnet.recognition.modulation import ClipOnly, EmbeddingModulation
from opsnet.recognition.recognizer import Recognizer
from opsnet.utils.configuration import options
from opsnet.utils.errors import InputError
from opsnet.web_demo.recognizers import (
    LABELS,
    choose,
    offered_recognizers,
    own_recognizer,
    recognizer_labels,
    strengths,
)

FCCLIP = GeometricEnsemble(seen=0.4, unseen=0.8, seen_by="text")


def model(recognizer: Recognizer, *, has_query_embeddings: bool = True) -> Any:
    network = SimpleNamespace(has_query_embeddings=has_query_embeddings)
    return SimpleNamespace(recognizer=recognizer, trained=SimpleNamespace(model=network))


def test_every_option_that_works_is_offered_once() -> None:
    assert set(LABELS) == set(options("modulation")) - {"trained", "learned"}
    assert set(offered_recognizers(model(EmbeddingModulation()))) == set(LABELS)


@pytest.mark.parametrize(
    ("own", "name", "label"),
    [
        (FCCLIP, "geometric_ensemble", "geometric ensemble of FC-CLIP (default)"),
        (EmbeddingModulation(), "full", "Embedding Modulation (default)"),
        (EmbeddingModulation(alpha=3), "trained", "the model's own"),
        (LearnedModulation(), "trained", "the model's own"),
    ],
)
def test_the_models_own_is_the_first(own, name, label) -> None:
    predictor = model(own)
    assert own_recognizer(predictor) == name
    assert recognizer_labels(predictor)[0] == (label, name)
    assert offered_recognizers(predictor)[name] is own
    assert choose(predictor, name, alpha=3, beta=0.5) is own or strengths(own) is not None


def test_without_query_embeddings_only_clip_is_offered() -> None:
    predictor = model(ClipOnly(), has_query_embeddings=False)
    assert list(offered_recognizers(predictor)) == ["clip_only"]
    with pytest.raises(InputError, match="'full' does not work with this model: choose one of clip_only"):
        choose(predictor, "full", alpha=10, beta=0.5)


def test_strengths_act_on_embedding_modulation_only() -> None:
    predictor = model(FCCLIP)
    chosen = choose(predictor, "full", alpha=4, beta=0.25)
    assert strengths(chosen) == (4, 0.25)
    assert strengths(choose(predictor, "geometric_ensemble", alpha=4, beta=0.25)) is None
    with pytest.raises(InputError, match="alpha must lie in 0..1000 and modulation.beta in 0..10"):
        choose(predictor, "full", alpha=float("nan"), beta=0.5)
