"""The options of an evaluation, as plain values: conf/evaluate.yaml is read here and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf


@dataclass(frozen=True)
class EvaluationOptions:
    """What conf/evaluate.yaml says beside the data; its comments describe each key.

    Attributes:
        settings: names of inference settings; none: the default ones.
        filters: changes of the filters in conf/filtering by name, without those that are null.
        tune: values to score every setting with, by option of a filter.
        split: of the images that are evaluated, where the data have several.
        tuning_images: training images that the split "tuning" holds.
    """

    output: Path
    experiment_name: str = "evaluate"
    seed: int = 0
    checkpoint: str | None = None
    clip_weights: str | None = None
    label_names_known: bool = False
    recognizer_from: str | None = None
    device: str = "auto"
    settings: tuple[str, ...] = ()
    filters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    overlap: float | None = None
    tune: Mapping[str, Sequence[float]] = field(default_factory=dict)
    table: Any = None
    row: Any = None
    trained_as: str | None = None
    panels: int = 0
    panel_setting: str | None = None
    details: bool = False
    instances: bool = False
    oracles: bool = False
    detail_setting: str | Sequence[str] | None = None
    save_proposals: bool = False
    proposal_masks: str = "exact"
    proposals: str | None = None
    split: str | None = None
    tuning_images: int = 0


def option_values(cfg: DictConfig) -> dict[str, Any]:
    """The arguments of :class:`EvaluationOptions` that conf/evaluate.yaml gives; null keeps a default.

    Args:
        cfg: may lack keys that have a default.
    """
    fields = EvaluationOptions.__dataclass_fields__
    given = {key: value for key in fields if key in cfg and (value := _plain(cfg[key])) is not None}
    settings, data = given.get("settings"), cfg.get("data") or {}
    return {
        **given,
        "output": Path(cfg.output),
        "settings": (settings,) if isinstance(settings, str) else tuple(settings or ()),
        "tune": {
            key: [float(value) for value in values]
            for key, values in given.get("tune", {}).items()
            if values is not None
        },
        "filters": {
            name: {key: value for key, value in changes.items() if value is not None}
            for name, changes in given.get("filters", {}).items()
        },
        "split": data.get("split"),
        "tuning_images": data.get("tuning_images") or 0,
    }


def _plain(value: Any) -> Any:
    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
