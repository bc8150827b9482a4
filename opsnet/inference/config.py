"""The inference settings of a trained network, as plain values that a checkpoint stores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf

from opsnet.utils.configuration import option, options
from opsnet.utils.errors import InputError

if TYPE_CHECKING:
    from opsnet.panoptic.mask_filtering import MaskFiltering

TRAINED = "trained"
"""Used instead of an option of conf/modulation or conf/filtering: the one of the checkpoint's training."""

FULL: Mapping[str, Any] = {"_target_": "opsnet.recognition.modulation.EmbeddingModulation", "alpha": 10.0, "beta": 0.5}
"""The paper's recognizer, ``conf/modulation/full.yaml``; also that of early checkpoints, which do not store one."""

SEMANTIC = ("panoptic", "proposals")
"""How a semantic map is made: from the panoptic map, merged by class, or from the proposals before the merge
(:mod:`opsnet.inference.semantic`)."""


@dataclass(frozen=True)
class InferenceConfig:
    """The settings with which a checkpoint was validated; the defaults of its evaluation and prediction.

    Attributes:
        filtering: arguments of its :class:`MaskFiltering`.
        filters: changes of its world to the yamls of conf/filtering, by name: ``{"cls": {"threshold": 0.4}}``.
        overlap: the merge's overlap threshold.
        shortest, longest: pixels of the edges to which images are resized, see :class:`EvalTransform`; if ``shortest``
            is ``None``, images are only made smaller.
        tuning_images: number of training images that were held out for tuning thresholds.
        recognizer: class and arguments of the recognizer, which turns embeddings into logits, as in conf/modulation.
        semantic: how a semantic map is made, one of :data:`SEMANTIC`.
    """

    filtering: Mapping[str, Any]
    filters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    overlap: float = 0.8
    shortest: int | None = None
    longest: int | None = 1333
    tuning_images: int = 0
    recognizer: Mapping[str, Any] = field(default_factory=lambda: dict(FULL))
    semantic: str = "panoptic"

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> InferenceConfig:
        """From the configuration in a checkpoint, in any of the formats that checkpoints have had.

        The oldest have no inference settings, because they are the miniature's. Later ones do not store the recognizer,
        which was ``full``.
        """
        overlap = float(stored["overlap"])
        if "inference" in stored:
            return cls(**stored["inference"], overlap=overlap)
        filters: Any = OmegaConf.to_container(option("world", "scenes").filters)
        return cls({"kind": "cls_iou", **filters["cls_iou"]}, filters, overlap)

    @property
    def mask_filtering(self) -> MaskFiltering:
        """The filter built from :attr:`filtering`."""
        from opsnet.panoptic.mask_filtering import MaskFiltering

        return MaskFiltering(**self.filtering)


def checked_semantic(name: str) -> str:
    """Validates how semantic maps are made.

    Raises:
        InputError: it is none of :data:`SEMANTIC`.
    """
    if name not in SEMANTIC:
        raise InputError(f"semantic must be {' or '.join(SEMANTIC)}, got {name}: change `semantic`")
    return name


MASK2FORMER = InferenceConfig({"kind": "iou", "threshold": 0.8}, shortest=800)
"""Settings for published weights, whose no-object score replaces the predicted IoU."""

ZERO_SHOT = replace(MASK2FORMER, recognizer={"_target_": "opsnet.recognition.modulation.ClipOnly"})
"""The same with CLIP alone as recognizer, because their query embeddings are not trained."""


def recognizer_of(name: str) -> dict[str, Any]:
    """Class and arguments of a recognizer by name: an option of conf/modulation, or ``alpha=5,beta=0.25``.

    Raises:
        KeyError: conf/modulation has no such option.
        ValueError: the name starts with ``alpha=``, but does not have the form ``alpha=5,beta=0.25``.
    """
    if name.startswith("alpha="):
        values = {key: float(value) for key, value in (part.split("=") for part in name.split(","))}
        if not values.keys() <= {"alpha", "beta"}:
            raise ValueError(f"{', '.join(values)}: only alpha and beta are allowed")
        return {"_target_": FULL["_target_"], **values}
    if name == TRAINED:
        raise KeyError(name)
    content: Any = OmegaConf.to_container(option("modulation", name))
    return dict(content)


def recognizer_name(recognizer: Mapping[str, Any]) -> str:
    """The name for which :func:`recognizer_of` returns this class and arguments; ``trained`` if there is none."""
    for name in options("modulation"):
        if name != TRAINED and recognizer_of(name) == recognizer:
            return name
    if recognizer.keys() == FULL.keys() and recognizer["_target_"] == FULL["_target_"]:
        return f"alpha={recognizer['alpha']:g},beta={recognizer['beta']:g}"
    return TRAINED
