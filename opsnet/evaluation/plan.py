"""What an evaluation does in every domain, as its configuration asks for it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from opsnet.errors import InputError
from opsnet.evaluation.details import Wanted
from opsnet.inference import InferenceRules
from opsnet.panoptic.mask_filtering import KINDS
from opsnet.settings import TRAINED, Setting, grid, paper_settings, parse_setting

USUAL = "full/cls_iou"
"""Drawn and looked at where nothing else is asked for and it is scored."""


@dataclass(frozen=True)
class Plan:
    """What to do in every domain.

    Attributes:
        settings: to score.
        panels: pictures to draw, under ``panel_setting``.
        panel_setting: a setting's name.
        wanted: what to look at beyond PQ and mIoU, under ``detail_settings``.
        detail_settings: names.
        output: the run's folder.

    Raises:
        InputError: a setting to draw or to look at is not among ``settings``.
    """

    settings: tuple[Setting, ...]
    output: Path
    panels: int = 0
    panel_setting: str = ""
    wanted: Wanted = field(default_factory=Wanted)
    detail_settings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        names = [setting.name for setting in self.settings]
        if self.panels and self.panel_setting not in names:
            raise InputError(
                f"panel_setting {self.panel_setting} is not among `settings`: add it there, or give panels=0"
            )
        for name in self.detail_settings:
            if name not in names:
                raise InputError(f"detail_setting {name} is not among `settings`: add it there, or name one of them")

    @property
    def sources(self) -> tuple[str, ...]:
        """Where the embeddings of CLIP that the settings read come from."""
        return tuple(sorted({setting.clip_embeds for setting in self.settings}))


def plan_of(cfg: DictConfig, rules: InferenceRules, names: Sequence[str] | None = None) -> Plan:
    """The plan of a configuration.

    Args:
        cfg: conf/evaluate.yaml.
        rules: of the checkpoint.
        names: of settings, in the place of its own.

    Raises:
        InputError: an unknown setting, or one to draw or to look at that is not scored.
    """
    own = [cfg.settings] if isinstance(cfg.settings, str) else cfg.settings
    names = grid(list(dict.fromkeys(names or own or default_settings(cfg, rules))), tuned_options(cfg))
    drawn = cfg.panel_setting or (USUAL if USUAL in names else names[0])
    detailed = cfg.detail_setting or drawn
    return Plan(
        tuple(_setting(name, cfg, rules) for name in names),
        Path(cfg.output),
        panels=cfg.panels,
        panel_setting=drawn,
        wanted=Wanted(classes=cfg.details, instances=cfg.instances, oracles=cfg.oracles),
        detail_settings=(detailed,) if isinstance(detailed, str) else tuple(detailed),
    )


def tuned_options(cfg: DictConfig) -> dict[str, list[float]]:
    """The values of ``tune`` in conf/evaluate.yaml, by option of a filter."""
    return {key: [float(value) for value in values] for key, values in cfg.tune.items() if values is not None}


def default_settings(cfg: DictConfig, rules: InferenceRules) -> list[str]:
    """Where no setting is named: the paper's that need one pass of CLIP, and the checkpoint's own filter.

    To tune, the latter alone.
    """
    own = f"full/{TRAINED}"
    if tuned_options(cfg):
        return [own]
    names = paper_settings(crops=False)
    filters = _filters(cfg, rules)
    known = [parse_setting(f"full/{kind}", filters=filters).filtering.settings() for kind in KINDS]
    return names if rules.mask_filtering.settings() in known else [*names, own]


def _setting(name: str, cfg: DictConfig, rules: InferenceRules) -> Setting:
    setting = parse_setting(name, filters=_filters(cfg, rules), trained=rules.mask_filtering)
    return dataclasses.replace(setting, overlap=cfg.overlap) if setting.overlap is None else setting


def _filters(cfg: DictConfig, rules: InferenceRules) -> dict[str, dict[str, Any]]:
    """What the checkpoint's world changes of conf/filtering, and what the configuration changes of that."""
    given = {
        kind: {key: value for key, value in changes.items() if value is not None}
        for kind, changes in cfg.filters.items()
    }
    return {kind: {**rules.filters.get(kind, {}), **given.get(kind, {})} for kind in {*rules.filters, *given}}
