"""How a network is used after training: plain values, as a checkpoint carries them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf

from opsnet.utils.configuration import option, options

if TYPE_CHECKING:
    from opsnet.panoptic.mask_filtering import MaskFiltering

TRAINED = "trained"
"""In place of a name of conf/modulation or conf/filtering: what the checkpoint was trained and validated with."""

FULL: Mapping[str, Any] = {"_target_": "opsnet.recognition.modulation.EmbeddingModulation", "alpha": 10.0, "beta": 0.5}
"""The paper's recognizer, that of ``conf/modulation/full.yaml``; checkpoints from before they named theirs have it."""


@dataclass(frozen=True)
class InferenceConfig:
    """How a checkpoint was validated, which is how it is evaluated and predicts unless the user chooses otherwise.

    Attributes:
        filtering: arguments of its :class:`MaskFiltering`.
        filters: what its world changes in the yamls of conf/filtering, by name: ``{"cls": {"threshold": 0.4}}``.
        overlap: of the merge.
        shortest, longest: pixels of the edges of an image as the network sees it, see :class:`EvalTransform`; without
            ``shortest``, images are only ever made smaller.
        tuning_images: training images that were left out, to tune thresholds on.
        recognizer: class and arguments of what turns embeddings into logits, as in a yaml of conf/modulation.
    """

    filtering: Mapping[str, Any]
    filters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    overlap: float = 0.8
    shortest: int | None = None
    longest: int | None = 1333
    tuning_images: int = 0
    recognizer: Mapping[str, Any] = field(default_factory=lambda: dict(FULL))

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> InferenceConfig:
        """From the configuration in a checkpoint, in any of the forms that checkpoints have had.

        The oldest say nothing of inference: they are the miniature's. Later ones do not name the recognizer: it was
        ``full``.
        """
        overlap = float(stored["overlap"])
        if "inference" in stored:
            return cls(**stored["inference"], overlap=overlap)
        filters: Any = OmegaConf.to_container(option("world", "scenes").filters)
        return cls({"kind": "cls_iou", **filters["cls_iou"]}, filters, overlap)

    @property
    def mask_filtering(self) -> MaskFiltering:
        """The filter."""
        from opsnet.panoptic.mask_filtering import MaskFiltering

        return MaskFiltering(**self.filtering)


MASK2FORMER = InferenceConfig({"kind": "iou", "threshold": 0.8}, shortest=800)
"""Of published weights, whose no-object score stands for the predicted IoU."""


def recognizer_of(name: str) -> dict[str, Any]:
    """Class and arguments of a recognizer by its name: a yaml of conf/modulation, or ``alpha=5,beta=0.25``.

    Raises:
        KeyError: conf/modulation has none of this name.
        ValueError: it begins like ``alpha=5,beta=0.25`` and is not of this form.
    """
    if name.startswith("alpha="):
        values = {key: float(value) for key, value in (part.split("=") for part in name.split(","))}
        if not values.keys() <= {"alpha", "beta"}:
            raise ValueError(f"{', '.join(values)}: only alpha and beta")
        return {"_target_": FULL["_target_"], **values}
    if name == TRAINED:
        raise KeyError(name)
    content: Any = OmegaConf.to_container(option("modulation", name))
    return dict(content)


def recognizer_name(recognizer: Mapping[str, Any]) -> str:
    """The name that :func:`recognizer_of` takes for class and arguments; ``trained`` where no name describes them."""
    for name in options("modulation"):
        if name != TRAINED and recognizer_of(name) == recognizer:
            return name
    if recognizer.keys() == FULL.keys() and recognizer["_target_"] == FULL["_target_"]:
        return f"alpha={recognizer['alpha']:g},beta={recognizer['beta']:g}"
    return TRAINED
