"""What an evaluation does in every domain, as its configuration asks for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from omegaconf import DictConfig

from opsnet.errors import InputError
from opsnet.evaluation.details import Wanted
from opsnet.settings import Setting, paper_settings, parse_setting

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


def plan_of(cfg: DictConfig, names: Sequence[str] | None = None) -> Plan:
    """The plan of a configuration.

    Args:
        cfg: conf/evaluate.yaml.
        names: of settings, in the place of its own.

    Raises:
        InputError: an unknown setting, or one to draw or to look at that is not scored.
    """
    if names is None:
        names = [cfg.settings] if isinstance(cfg.settings, str) else cfg.settings or paper_settings()
    names = list(dict.fromkeys(names))
    drawn = cfg.panel_setting or (USUAL if USUAL in names else names[0])
    detailed = cfg.detail_setting or drawn
    return Plan(
        tuple(parse_setting(name) for name in names),
        Path(cfg.output),
        panels=cfg.panels,
        panel_setting=drawn,
        wanted=Wanted(classes=cfg.details, instances=cfg.instances, oracles=cfg.oracles),
        detail_settings=(detailed,) if isinstance(detailed, str) else tuple(detailed),
    )
