"""The options ``trained`` of conf/modulation and conf/filtering: what a checkpoint was trained with, with changes."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from hydra.utils import instantiate
from omegaconf import DictConfig

from opsnet.inference.config import recognizer_name
from opsnet.inference.settings import changed, recognizer_config, warn_if_initial
from opsnet.inference.trained_model import TrainedModel
from opsnet.panoptic.mask_filtering import MaskFiltering
from opsnet.recognition.recognizer import Recognizer
from opsnet.utils.errors import InputError


@dataclass(frozen=True)
class TrainedFilter:
    """The filter of a checkpoint's training (conf/filtering/trained.yaml).

    Attributes:
        kind, threshold, compete, drop_no_object: replace its arguments, see :class:`MaskFiltering`; ``None`` keeps
            them.
    """

    kind: str | None = None
    threshold: float | None = None
    compete: str | None = None
    drop_no_object: bool | None = None

    def of(self, trained: MaskFiltering) -> MaskFiltering:
        """The filter for a checkpoint."""
        return changed(trained, {k: v for k, v in dataclasses.asdict(self).items() if v is not None})


@dataclass(frozen=True)
class TrainedRecognizer:
    """The recognizer of a checkpoint (conf/modulation/trained.yaml).

    Attributes:
        alpha, beta: replace its coefficients, see :class:`EmbeddingModulation`; ``None`` keeps them.
    """

    alpha: float | None = None
    beta: float | None = None

    def of(self, trained: TrainedModel) -> Recognizer:
        """The recognizer for a checkpoint.

        Raises:
            InputError: the checkpoint's recognizer has no alpha or beta.
        """
        changes = {k: v for k, v in dataclasses.asdict(self).items() if v is not None}
        if not changes:
            return trained.recognizer
        config = recognizer_config(trained.recognizer)
        if not changes.keys() <= config.keys():
            raise InputError(
                f"modulation.{min(changes)}: the checkpoint's recognizer, {recognizer_name(config)}, has none: "
                "choose modulation=full too"
            )
        return instantiate({**config, **changes})  # type: ignore[no-any-return]


def choose_recognizer(modulation: DictConfig, trained: TrainedModel) -> Recognizer:
    """The recognizer that the group ``modulation`` of a command selects.

    Raises:
        InputError: see :meth:`TrainedRecognizer.of`.
    """
    chosen: Recognizer | TrainedRecognizer = instantiate(modulation)
    if isinstance(chosen, TrainedRecognizer):
        return chosen.of(trained)
    return warn_if_initial(chosen, type(chosen).__name__)
