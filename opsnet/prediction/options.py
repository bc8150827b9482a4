"""The options of a prediction: conf/predict.yaml is read here and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from opsnet.prediction.labelling import checked_front
from opsnet.prediction.writing import checked_task
from opsnet.utils.errors import InputError


@dataclass(frozen=True)
class PredictionOptions:
    """What conf/predict.yaml says; its comments describe each key.

    Attributes:
        vocabulary: text or list of names.
        modulation, filtering: configurations of the recognizer and of the filter.
        network: the configuration with the groups ``model``, ``backbone`` and ``clip``, for ``model.weights``.

    Raises:
        InputError: an option is out of range; the message states the key.
    """

    image: str
    vocabulary: Any
    output: Path
    modulation: DictConfig
    filtering: DictConfig
    network: DictConfig
    checkpoint: str | None = None
    clip_model: str | None = None
    train_vocabulary: str | None = None
    clip_weights: str | None = None
    ids_from: str | None = None
    masks: str | None = None
    front: str = "small"
    treat_label_names_as_seen: bool = False
    device: str = "auto"
    task: str = "panoptic"
    semantic: str | None = None
    top_k: int = 1
    batch_size: int = 8
    unknown: float | None = None
    path_margin: float = 0.1
    sizes: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        checked_task(self.task)
        checked_front(self.front)
        if self.masks is not None and self.semantic == "proposals":
            raise InputError("semantic=proposals needs the network's own proposals: leave semantic or masks out")
        for key in ("top_k", "batch_size"):
            if getattr(self, key) < 1:
                raise InputError(f"{key} must be at least 1, got {getattr(self, key)}: change `{key}`")
        if not 0 <= self.path_margin <= 1:
            raise InputError(f"path_margin must lie in 0..1, got {self.path_margin}: change `path_margin`")
        if self.unknown is not None and not 0 < self.unknown <= 1:
            raise InputError(f"unknown must be a margin in (0, 1], or null, got {self.unknown}")


def option_values(cfg: DictConfig) -> dict[str, Any]:
    """The arguments of :class:`PredictionOptions` in conf/predict.yaml."""
    fields = PredictionOptions.__dataclass_fields__
    return {
        **{key: cfg[key] for key in fields if key in cfg},
        "image": cfg.image,
        "vocabulary": cfg.vocabulary if isinstance(cfg.vocabulary, str) else list(cfg.vocabulary),
        "output": Path(cfg.output),
        "sizes": {"shortest": cfg.shortest, "longest": cfg.longest, "overlap": cfg.overlap},
        "network": cfg,
    }
