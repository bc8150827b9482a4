"""The recognizers that the page offers for a model: its own and those of conf/modulation that work for it."""

from __future__ import annotations

from hydra.utils import instantiate

from opsnet.inference.config import TRAINED, recognizer_name, recognizer_of
from opsnet.inference.settings import recognizer_config
from opsnet.prediction.predictor import Predictor
from opsnet.recognition.modulation import EmbeddingModulation
from opsnet.recognition.recognizer import Recognizer
from opsnet.utils.configuration import options
from opsnet.utils.errors import InputError

LABELS = {
    "full": "Embedding Modulation",
    "fusion_only": "Embedding Fusion, without debiasing",
    "query_only": "query embedding only",
    "clip_only": "CLIP only",
    "geometric_ensemble": "geometric ensemble of FC-CLIP",
    "coat": "geometric ensemble of OVRCOAT",
    **{f"ensemble_{n}": f"fixed ensemble, query + {n} CLIP" for n in range(1, 5)},
}
"""Labels of the options of conf/modulation; others are shown by their name."""


def own_recognizer(predictor: Predictor) -> str:
    """The name of a model's own recognizer: an option of conf/modulation that equals it, or else ``trained``."""
    if list(predictor.recognizer.parameters()):
        return TRAINED
    name = recognizer_name(recognizer_config(predictor.recognizer))
    return name if name in options("modulation") else TRAINED


def offered_recognizers(predictor: Predictor) -> dict[str, Recognizer]:
    """Name -> recognizer, the model's own first.

    Those with trainable parameters are left out, because the yaml has only their initial values; without trained query
    embeddings, so are those that need them.
    """
    own, model = own_recognizer(predictor), predictor.trained.model
    offered = {own: predictor.recognizer}
    for name in options("modulation"):
        if name in (own, TRAINED):
            continue
        recognizer: Recognizer = instantiate(recognizer_of(name))
        works = model.has_query_embeddings or not recognizer.needs_query_embeddings
        if works and not list(recognizer.parameters()):
            offered[name] = recognizer
    return offered


def recognizer_labels(predictor: Predictor) -> list[tuple[str, str]]:
    """(label, name) of each offered recognizer."""
    own = own_recognizer(predictor)
    labels = {name: LABELS.get(name, name) for name in offered_recognizers(predictor)}
    labels[own] = "the model's own" if own == TRAINED else f"{labels[own]} (default)"
    return [(label, name) for name, label in labels.items()]


def strengths(recognizer: Recognizer) -> tuple[float, float] | None:
    """alpha and beta, if the recognizer has them."""
    return (recognizer.alpha, recognizer.beta) if isinstance(recognizer, EmbeddingModulation) else None


def choose(predictor: Predictor, name: str, alpha: float, beta: float) -> Recognizer:
    """The recognizer that a visitor has chosen; ``alpha`` and ``beta`` count if it is an Embedding Modulation.

    Raises:
        InputError: it is not offered for this model, or a strength is out of range.
    """
    offered = offered_recognizers(predictor)
    if name not in offered:
        raise InputError(f"the recognizer '{name}' does not work with this model: choose one of {', '.join(offered)}")
    if strengths(offered[name]) is None:
        return offered[name]
    try:
        return EmbeddingModulation(alpha=float(alpha), beta=float(beta))
    except ValueError as error:
        raise InputError(str(error)) from error
