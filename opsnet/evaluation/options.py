"""The options of an evaluation as plain values; conf/evaluate.yaml is read only here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from opsnet.inference.trained_model import pick_device
from opsnet.utils.errors import InputError
from opsnet.utils.option_values import COUNT, SHARE, SHARE_OR_NULL, Number, Switch, check_values

KEYS: dict[str, Number | Switch] = {
    "seed": COUNT, "overlap": SHARE_OR_NULL, "panels": COUNT, "data.tuning_images": COUNT,
    "journal_every": Number(low=0), "score_workers": COUNT,
    "treat_label_names_as_seen": Switch(), "details": Switch(), "instances": Switch(), "oracles": Switch(),
    "boundary": Switch(), "mask_classification": Switch(), "ema": Switch(),
    "semantic_from_proposals": Switch(null=True), "save_proposals": Switch(), "show": Switch(),
    **{f"filters.{kind}.threshold": SHARE_OR_NULL for kind in ("cls", "iou", "cls_iou")},
}  # fmt: skip


@dataclass(frozen=True)
class EvaluationOptions:
    """The keys of conf/evaluate.yaml except the data; its comments describe each key.

    Attributes:
        settings: names of inference settings; empty: the default ones.
        journal_every: seconds between two parts of the journal.
        score_workers: processes that score beside the network, on the CPU; 0: where the network runs.
        compare: "recognizers": the settings of :mod:`opsnet.evaluation.comparison`.
        filters: changes to the filters in conf/filtering by name, without those that are null.
        tune: values with which every setting is scored, by filter option.
        split: the evaluated split, if the data has several.
        tuning_images: number of training images in the split "tuning".
    """

    output: Path
    experiment_name: str = "evaluate"
    seed: int = 0
    checkpoint: str | None = None
    clip_model: str | None = None
    train_vocabulary: str | None = None
    clip_weights: str | None = None
    treat_label_names_as_seen: bool = False
    ema: bool = True
    recognizer_from: str | None = None
    device: str = "auto"
    settings: tuple[str, ...] = ()
    compare: str | None = None
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
    semantic_from_proposals: bool | None = None
    oracles: bool = False
    boundary: bool = False
    mask_classification: bool = False
    detail_setting: str | Sequence[str] | None = None
    save_proposals: bool = False
    proposal_masks: str = "exact"
    proposals: str | None = None
    journal_every: float = 30.0
    score_workers: int = 0
    split: str | None = None
    tuning_images: int = 0


_EXAMPLES = {"tune": "tune.threshold=[0.1,0.2]", "filters": "filters.cls.threshold=0.4"}


def option_values(cfg: DictConfig) -> dict[str, Any]:
    """The arguments of :class:`EvaluationOptions` from conf/evaluate.yaml; null keeps the default.

    Args:
        cfg: conf/evaluate.yaml; keys with a default may be missing.

    Raises:
        InputError: a number, a switch or the device is invalid; the message states the key.
    """
    check_values(cfg, KEYS)
    pick_device(cfg.get("device") or "auto")
    fields = EvaluationOptions.__dataclass_fields__
    given = {key: value for key in fields if key in cfg and (value := _plain(cfg[key])) is not None}
    settings, data = given.get("settings"), cfg.get("data") or {}
    for key in ("tune", "filters"):
        if not isinstance(given.get(key, {}), dict):
            raise InputError(f"{key} must have keys, such as {_EXAMPLES[key]}, got {given[key]!r:.80}: change `{key}`")
    settings = [settings] if isinstance(settings, str) else settings or []
    if not isinstance(settings, list) or not all(isinstance(name, str) for name in settings):
        raise InputError(
            f"settings must be names of settings, such as full/cls_iou, got {settings!r:.80}: change `settings`"
        )
    return {
        **given,
        "output": Path(cfg.output),
        "settings": tuple(settings),
        "tune": {key: _shares(f"tune.{key}", v) for key, v in given.get("tune", {}).items() if v is not None},
        "filters": {
            name: {key: value for key, value in changes.items() if value is not None}
            for name, changes in given.get("filters", {}).items()
        },
        "split": data.get("split"),
        "tuning_images": data.get("tuning_images") or 0,
    }


def _shares(key: str, values: Any) -> list[float]:
    """A number in 0..1 or a list of them."""
    values = values if isinstance(values, list) else [values]
    for value in values:
        SHARE.check(key, value)
    return [float(value) for value in values]


def _plain(value: Any) -> Any:
    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
