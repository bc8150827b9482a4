"""Inference settings: named ways to turn one pass of the network into a panoptic map (Tables 4 to 7)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from hydra.utils import instantiate
from omegaconf import OmegaConf

from opsnet.configuration import config_dir
from opsnet.errors import InputError
from opsnet.panoptic.mask_filtering import MaskFiltering
from opsnet.recognition.modulation import EmbeddingModulation
from opsnet.recognition.recognizer import Recognizer

CROPS = ("masking", "cropping")
TRAINED = "trained"
"""The filter that a checkpoint was trained and validated with."""

Filters = Mapping[str, Mapping[str, Any]]
"""What a world changes of the yamls of conf/filtering, by name: ``{"cls": {"threshold": 0.4}}``."""


@dataclass(frozen=True)
class Setting:
    """One way of inference.

    Attributes:
        name: ``<recognition>/<filter>``.
        recognition, filter: the two halves of the name.
        recognizer: embeddings -> logits.
        filtering: logits and IoU -> scores.
        clip_embeds: where CLIP's embeddings come from: "pooling", "masking" or "cropping".
        overlap: of the merge; ``None``: the checkpoint's.
    """

    name: str
    recognition: str
    filter: str
    recognizer: Recognizer
    filtering: MaskFiltering
    clip_embeds: str
    overlap: float | None = None


def parse_setting(name: str, *, filters: Filters | None = None, trained: MaskFiltering | None = None) -> Setting:
    """Builds a setting from its name.

    ``full/cls_iou``: a yaml of conf/modulation, then one of conf/filtering.
    ``alpha=5,beta=0.25/cls_iou``: any strength of the modulation.
    ``cropping/cls_iou``: CLIP alone, on images of each proposal.
    ``full/trained``: the filter of the checkpoint's own training.
    ``full/cls_iou,threshold=0.1,compete=cls,drop_no_object=true,overlap=0.7``: any of these changed.

    Args:
        name: of the setting.
        filters: of the checkpoint's world.
        trained: the checkpoint's own filter.

    Raises:
        InputError: an unknown name or option.
    """
    recognition, _, filter_name = name.partition("/")
    kind, *options = filter_name.split(",")
    changes = _filter_options(options, name)
    overlap = changes.pop("overlap", None)
    filtering = changed(parse_filtering(kind, filters=filters, trained=trained, setting=name), changes)
    source = recognition if recognition in CROPS else "pooling"
    recognizer = parse_recognizer("clip_only" if recognition in CROPS else recognition, setting=name)
    return Setting(name, recognition, filter_name, recognizer, filtering, source, overlap)


def parse_recognizer(text: str, *, setting: str | None = None) -> Recognizer:
    """``full``, a yaml of conf/modulation, or any strength, ``alpha=5,beta=0.25``.

    Args:
        text: the name.
        setting: that it is a part of, for the message.

    Raises:
        InputError: an unknown name.
    """
    if text.startswith("alpha="):
        return _grid_cell(text)
    return instantiate(_yaml("modulation", text, setting or text))  # type: ignore[no-any-return]


def parse_filtering(
    text: str, *, filters: Filters | None = None, trained: MaskFiltering | None = None, setting: str | None = None
) -> MaskFiltering:
    """``cls_iou``, a yaml of conf/filtering, or ``trained``.

    Args:
        text: the name.
        filters, trained: see :func:`parse_setting`.
        setting: that it is a part of, for the message.

    Raises:
        InputError: an unknown name.
    """
    if text == TRAINED:
        if trained is None:
            raise InputError(f"filter '{TRAINED}' is that of a checkpoint's training: give a checkpoint, or another")
        return trained
    raw = _yaml("filtering", text, setting or text)
    whole = OmegaConf.create({"filters": filters or {}, "filtering": raw})
    return instantiate(whole.filtering)  # type: ignore[no-any-return]


def changed(filtering: MaskFiltering, changes: Mapping[str, Any]) -> MaskFiltering:
    """A filter with other arguments in the place of some of its own; it is not changed itself.

    Raises:
        InputError: no such kind of score.
    """
    own = filtering.settings()
    if "kind" in changes:  # what follows from the kind follows from the new one
        own = {"kind": own["kind"], "threshold": own["threshold"]}
    try:
        return MaskFiltering(**{**own, **changes})
    except ValueError as error:
        raise InputError(str(error)) from error


@dataclass(frozen=True)
class TrainedFilter:
    """The filter of a checkpoint's training (conf/filtering/trained.yaml).

    Attributes:
        kind, threshold, compete, drop_no_object: in the place of its own, see :class:`MaskFiltering`; ``None`` changes
            nothing.
    """

    kind: str | None = None
    threshold: float | None = None
    compete: str | None = None
    drop_no_object: bool | None = None

    def of(self, trained: MaskFiltering) -> MaskFiltering:
        """The filter for a checkpoint."""
        return changed(trained, {k: v for k, v in dataclasses.asdict(self).items() if v is not None})


def _flag(text: str) -> bool:
    return {"true": True, "false": False}[text.lower()]


FILTER_OPTIONS: dict[str, Callable[[str], Any]] = {
    "threshold": float,
    "compete": str,
    "drop_no_object": _flag,
    "overlap": float,
}


def _filter_options(options: Sequence[str], name: str) -> dict[str, Any]:
    """``["threshold=0.1", ...]`` as values.

    Raises:
        InputError: an unknown option, or a value that cannot be read.
    """
    try:
        return {key: FILTER_OPTIONS[key](value) for key, value in (option.split("=") for option in options)}
    except (ValueError, KeyError) as error:
        raise InputError(
            f"setting '{name}': after the filter's name may follow threshold=0.1, overlap=0.8, compete=cls (or iou, "
            "cls_iou) and drop_no_object=true, separated by commas"
        ) from error


def _grid_cell(text: str) -> EmbeddingModulation:
    try:
        values = {key: float(value) for key, value in (part.split("=") for part in text.split(","))}
        return EmbeddingModulation(**values)
    except (ValueError, TypeError) as error:
        raise InputError(f"setting '{text}' must look like alpha=5,beta=0.25 ({error})") from error


@cache
def _yaml(group: str, option: str, name: str):  # type: ignore[no-untyped-def]
    path = config_dir() / group / f"{option}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in (config_dir() / group).glob("*.yaml")))
        extra = f", {', '.join(CROPS)}, alpha=A,beta=B" if group == "modulation" else ""
        raise InputError(
            f"setting '{name}': no {group} '{option}'; a setting is <recognition>/<filter>, "
            f"with {group} one of {known}{extra}"
        )
    return OmegaConf.load(path)


def paper_settings(
    alphas: Sequence[float] = (0, 2.5, 5, 10, 15, 20),
    betas: Sequence[float] = (0, 0.25, 0.5, 0.75, 1, 1.5),
    *,
    crops: bool = True,
) -> list[str]:
    """Names of every setting of Tables 1 and 4 to 7; the grid over ``alphas`` and ``betas`` is Table 6.

    Args:
        alphas, betas: of the grid.
        crops: with masking and cropping, which run CLIP once per proposal.
    """
    names = [f"{r}/{f}" for r in ("query_only", "clip_only", "ensemble_1", "full") for f in ("cls", "iou", "cls_iou")]
    more = ("ensemble_2", "ensemble_3", "ensemble_4", "fusion_only", *(CROPS if crops else ()))
    names += [f"{r}/cls_iou" for r in more]
    names += [f"alpha={a:g},beta={b:g}/cls_iou" for a in alphas for b in betas]
    return names


def grid(names: Sequence[str], values: Mapping[str, Sequence[Any]]) -> list[str]:
    """Each setting with every combination of values of the filter's options: ``full/cls,threshold=0,overlap=0.8``.

    Args:
        names: of settings.
        values: by option, e.g. ``{"threshold": [0, 0.1], "overlap": [0.8]}``.
    """
    for option, tried in values.items():
        names = [f"{name},{option}={value:g}" for name in names for value in tried]
    return list(names)
