"""What an evaluation does in every domain, as its configuration asks for it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from opsnet.evaluation.details import Wanted
from opsnet.evaluation.options import EvaluationOptions
from opsnet.inference.config import TRAINED, InferenceConfig, recognizer_name
from opsnet.inference.settings import Setting, grid, paper_settings, parse_filtering, parse_setting
from opsnet.panoptic.mask_filtering import KINDS
from opsnet.recognition.recognizer import Recognizer
from opsnet.utils.errors import InputError

USUAL = "full/cls_iou"
"""Drawn and examined where nothing else is asked for, it is scored, and the checkpoint's own recognizer is not."""


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


def plan_of(
    options: EvaluationOptions, inference: InferenceConfig, recognizer: Recognizer, names: Sequence[str] | None = None
) -> Plan:
    """The plan of a configuration.

    Args:
        options: of the evaluation.
        inference: of the checkpoint.
        recognizer: of the checkpoint, with what it learned.
        names: of settings, in the place of its own.

    Raises:
        InputError: an unknown setting, or one to draw or to look at that is not scored.
    """
    names = names or options.settings or default_settings(options, inference)
    names = grid(list(dict.fromkeys(names)), options.tune)
    usual = [name for name in (f"{recognizer_name(inference.recognizer)}/cls_iou", USUAL) if name in names]
    drawn = options.panel_setting or next(iter(usual), names[0])
    detailed = options.detail_setting or drawn
    return Plan(
        tuple(_setting(name, options, inference, recognizer) for name in names),
        options.output,
        panels=options.panels,
        panel_setting=drawn,
        wanted=Wanted(classes=options.details, instances=options.instances, oracles=options.oracles),
        detail_settings=(detailed,) if isinstance(detailed, str) else tuple(detailed),
    )


def default_settings(options: EvaluationOptions, inference: InferenceConfig) -> list[str]:
    """Where no setting is named: the paper's that need one pass of CLIP, and the checkpoint's own.

    To tune, the latter alone.
    """
    recognizer = recognizer_name(inference.recognizer)
    own = f"{recognizer}/{TRAINED}"
    if options.tune:
        return [own]
    names = paper_settings(crops=False)
    filters = _filters(options, inference)
    alike = [kind for kind in KINDS if f"{recognizer}/{kind}" in names]
    known = [parse_filtering(kind, filters=filters).settings() for kind in alike]
    return names if inference.mask_filtering.settings() in known else [*names, own]


def _setting(name: str, options: EvaluationOptions, inference: InferenceConfig, recognizer: Recognizer) -> Setting:
    setting = parse_setting(
        name, filters=_filters(options, inference), trained=inference.mask_filtering, recognizer=recognizer
    )
    return dataclasses.replace(setting, overlap=options.overlap) if setting.overlap is None else setting


def _filters(options: EvaluationOptions, inference: InferenceConfig) -> dict[str, dict[str, Any]]:
    """What the checkpoint's world changes of conf/filtering, and what the configuration changes of that."""
    given = options.filters
    return {kind: {**inference.filters.get(kind, {}), **given.get(kind, {})} for kind in {*inference.filters, *given}}
