"""The families of published models: how a file is recognised, and how its network is used."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from opsnet.inference.config import ZERO_SHOT, InferenceConfig
from opsnet.segmenter.published.checkpoints import UNTRAINED
from opsnet.segmenter.published.weight_files import WeightsError

_ENSEMBLE = {
    "_target_": "opsnet.recognition.geometric_ensemble.GeometricEnsemble",
    "seen": 0.4,
    "unseen": 0.8,
    "seen_by": "text",
}
_NO_OBJECT = {"kind": "cls", "threshold": 0.0, "compete": "cls", "drop_no_object": True}


@dataclass(frozen=True)
class Family:
    """A family of published models.

    Attributes:
        name: its name in messages.
        marks: beginnings of names of which a file of this family has at least one each.
        is_open: whether it has trained embeddings in CLIP's space, and CLIP's trunk as backbone.
        inference: the settings with which its figures were published, or the best for it without training.
        untrained: prefixes of weights that its files do not have.
    """

    name: str
    marks: tuple[str, ...]
    is_open: bool
    inference: InferenceConfig
    untrained: tuple[str, ...]


def _fcclip(clip_trust: float) -> InferenceConfig:
    recognizer = {**_ENSEMBLE, "clip_trust": clip_trust}
    return InferenceConfig(_NO_OBJECT, shortest=800, longest=1333, recognizer=recognizer, semantic="proposals")


_PREDICTOR = "sem_seg_head.predictor."
_FCCLIP = (f"{_PREDICTOR}class_embed.layers.", f"{_PREDICTOR}_mask_pooling_proj.", "void_embedding.")
_TRANSFORMERS = (("transformer_module.",), ("model.transformer_module.",))
FAMILIES = (
    Family("OVRCOAT", (*_FCCLIP, "frozen_backbone."), True, _fcclip(0.5), ("clip.",)),
    Family("FC-CLIP", _FCCLIP, True, _fcclip(0.0), ("clip.",)),
    Family("Mask2Former (detectron2)", (f"{_PREDICTOR}class_embed.",), False, ZERO_SHOT, UNTRAINED),
    *(Family("Mask2Former (transformers)", marks, False, ZERO_SHOT, UNTRAINED) for marks in _TRANSFORMERS),
)
"""The first whose marks a file has."""


def recognise(names: Iterable[str] | Mapping[str, Any], path: object) -> Family:
    """The family of a file of weights.

    Args:
        names: names of its tensors.
        path: the file, for the message.

    Raises:
        WeightsError: it is of none.
    """
    names = tuple(names)
    for family in FAMILIES:
        if all(any(name.startswith(mark) for name in names) for mark in family.marks):
            return family
    raise WeightsError(
        f"weights {path} are of no known model: {len(names)} tensors such as '{names[0]}'; give a checkpoint of "
        "opsnet-train, or published weights of Mask2Former (detectron2 or transformers), FC-CLIP or OVRCOAT"
    )
