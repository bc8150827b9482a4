"""The plan of an evaluation: what its configuration asks for in every domain."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from opsnet.evaluation.details import DetailOptions
from opsnet.evaluation.options import EvaluationOptions
from opsnet.inference.config import TRAINED, InferenceConfig
from opsnet.inference.setting_lists import grid, paper_settings
from opsnet.inference.settings import (
    Setting,
    own_recognition,
    parse_filtering,
    parse_setting,
    require_query_embeddings,
)
from opsnet.panoptic.mask_filtering import KINDS
from opsnet.recognition.recognizer import Recognizer
from opsnet.utils.errors import InputError

log = logging.getLogger(__name__)
DEFAULT_SETTING = "full/cls_iou"
"""The setting of panels and details by default, if it is scored and the checkpoint's own recognizer is not."""


@dataclass(frozen=True)
class Plan:
    """What to compute in every domain.

    Attributes:
        settings: inference settings to score.
        output: the run's folder.
        panels: number of images to draw, with ``panel_setting``.
        panel_setting: name of a setting.
        details: what to compute beyond PQ and mIoU, with ``detail_settings``.
        detail_settings: names of settings.

    Raises:
        InputError: ``panel_setting`` or one of ``detail_settings`` is not among ``settings``.
    """

    settings: tuple[Setting, ...]
    output: Path
    panels: int = 0
    panel_setting: str = ""
    details: DetailOptions = field(default_factory=DetailOptions)
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
    def detailed(self) -> tuple[Setting, ...]:
        """The settings of the details."""
        return tuple(setting for setting in self.settings if setting.name in self.detail_settings)

    @property
    def sources(self) -> tuple[str, ...]:
        """The sources of CLIP embeddings that the settings use."""
        return tuple(sorted({setting.clip_embeds for setting in self.settings}))


def plan_of(
    options: EvaluationOptions, inference: InferenceConfig, recognizer: Recognizer, names: Sequence[str] | None = None,
    *, query_embeddings: bool = True,
) -> Plan:  # fmt: skip
    """The plan of a configuration.

    Args:
        options: options of the evaluation.
        inference: the checkpoint's inference settings.
        recognizer: the checkpoint's recognizer, with its learned weights.
        names: names of settings that replace those of ``options``.
        query_embeddings: whether the network has trained query embeddings; a published Mask2Former has none.

    Raises:
        InputError: a setting is unknown or needs query embeddings that the network does not have, or one to draw or to
            detail is not scored.
    """
    names = names or options.settings or default_settings(
        options, inference, recognizer, query_embeddings=query_embeddings
    )  # fmt: skip
    if options.recognizer_from and options.settings and not any(n.startswith(f"{TRAINED}/") for n in names):
        raise InputError(
            f"recognizer_from is the recognizer of settings {TRAINED}/..., and `settings` has none: add one, e.g. "
            f"{TRAINED}/{TRAINED}"
        )
    names = grid(list(dict.fromkeys(names)), options.tune)
    defaults = (f"{own_recognition(inference.recognizer, recognizer)}/cls_iou", DEFAULT_SETTING)
    drawn = options.panel_setting or next((name for name in defaults if name in names), names[0])
    detailed = options.detail_setting or drawn
    settings = tuple(_setting(name, options, inference, recognizer) for name in names)
    for setting in settings:
        require_query_embeddings(setting.recognizer, query_embeddings, setting.name)
    return Plan(
        settings,
        options.output,
        panels=options.panels,
        panel_setting=drawn,
        details=DetailOptions(
            classes=options.details,
            instances=options.instances,
            oracles=options.oracles,
            semantic=_semantic(options, inference),
            boundary=options.boundary,
            mask_classification=options.mask_classification,
        ),
        detail_settings=(detailed,) if isinstance(detailed, str) else tuple(detailed),
    )


def default_settings(
    options: EvaluationOptions, inference: InferenceConfig, recognizer: Recognizer, *, query_embeddings: bool = True
) -> list[str]:
    """Settings to score if none are given: those of the paper that run CLIP once per image, and the checkpoint's own.

    When tuning, and without trained query embeddings, only the checkpoint's own: the paper's filters rank by a class
    score whose no-object embedding is untrained too.
    """
    recognition = own_recognition(inference.recognizer, recognizer)
    own = f"{recognition}/{TRAINED}"
    if not query_embeddings:
        log.info("a published Mask2Former has no trained query embeddings: only %s is scored", own)
    if options.tune or not query_embeddings:
        return [own]
    names = paper_settings(other_sources=False)
    filters = _filters(options, inference)
    kinds = [kind for kind in KINDS if f"{recognition}/{kind}" in names]
    scored = [parse_filtering(kind, filters=filters).settings() for kind in kinds]
    return names if inference.mask_filtering.settings() in scored else [*names, own]


def _setting(name: str, options: EvaluationOptions, inference: InferenceConfig, recognizer: Recognizer) -> Setting:
    setting = parse_setting(
        name, filters=_filters(options, inference), trained=inference.mask_filtering, recognizer=recognizer
    )
    return dataclasses.replace(setting, overlap=options.overlap) if setting.overlap is None else setting


def _semantic(options: EvaluationOptions, inference: InferenceConfig) -> bool:
    """Whether semantic maps from proposals are scored; by default if the checkpoint's are made in this way."""
    given = options.semantic_from_proposals
    return inference.semantic == "proposals" if given is None else given


def _filters(options: EvaluationOptions, inference: InferenceConfig) -> dict[str, dict[str, Any]]:
    """The changes of the checkpoint's world to conf/filtering, updated with those of the configuration."""
    given = options.filters
    return {kind: {**inference.filters.get(kind, {}), **given.get(kind, {})} for kind in {*inference.filters, *given}}
