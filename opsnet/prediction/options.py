"""The options of a prediction: conf/predict.yaml is read here and nowhere else."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig

from opsnet.inference.trained_model import pick_device
from opsnet.prediction.mask_labelling import checked_front
from opsnet.prediction.task_maps import checked_task
from opsnet.utils.errors import InputError
from opsnet.utils.option_values import (
    COUNT,
    EDGE,
    INFERENCE,
    POSITIVE,
    SHARE,
    SHARE_OR_NULL,
    Number,
    Switch,
    check_values,
)

OWN: dict[str, Number | Switch] = {
    "top_k": POSITIVE, "batch_size": POSITIVE, "path_margin": SHARE, "unknown": SHARE_OR_NULL,
    "treat_label_names_as_seen": Switch(), "overwrite": Switch(),
    "resume": Switch(), "num_workers": COUNT,
}  # fmt: skip


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
    overwrite: bool = False
    resume: bool = True
    num_workers: int = 4
    sizes: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        checked_task(self.task)
        checked_front(self.front)
        if self.masks is not None and self.semantic == "proposals":
            raise InputError("semantic=proposals needs the network's own proposals: leave semantic or masks out")
        for key, kind in OWN.items():
            kind.check(key, getattr(self, key))
        if self.unknown == 0:
            raise InputError("unknown must be a margin in (0, 1], or null, got 0: change `unknown`")


def option_values(cfg: DictConfig) -> dict[str, Any]:
    """The arguments of :class:`PredictionOptions` in conf/predict.yaml.

    Raises:
        InputError: a number or the device is invalid; the message states the key.
    """
    check_values(cfg, {**INFERENCE, "shortest": EDGE, "longest": EDGE})
    pick_device(cfg.get("device", "auto"))
    if not isinstance(cfg.output, (str, Path)) or not str(cfg.output).strip():
        raise InputError(f"output must be a folder, got {str(cfg.output)!r:.80}: give output=FOLDER, or leave it out")
    fields = PredictionOptions.__dataclass_fields__
    return {
        **{key: cfg[key] for key in fields if key in cfg},
        "image": cfg.image,
        "vocabulary": _names(cfg.vocabulary),
        "output": Path(os.path.expanduser(cfg.output)),
        "sizes": {"shortest": cfg.shortest, "longest": cfg.longest, "overlap": cfg.overlap},
        "network": cfg,
    }


def _names(vocabulary: Any) -> str | list[str]:
    if isinstance(vocabulary, ListConfig):
        return [str(name) for name in vocabulary]
    if isinstance(vocabulary, str):
        return vocabulary
    raise InputError(f"vocabulary must be a text or a list of names, got {str(vocabulary)!r:.80}: quote it")
