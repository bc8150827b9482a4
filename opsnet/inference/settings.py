"""Inference settings: named ways to turn one pass of the network into a panoptic map (Tables 4 to 7)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from opsnet.inference.config import TRAINED, recognizer_name, recognizer_of
from opsnet.inference.trained_model import TrainedModel
from opsnet.panoptic.mask_filtering import MaskFiltering
from opsnet.recognition.recognizer import Recognizer
from opsnet.utils.configuration import option, options
from opsnet.utils.errors import InputError

CROPS = ("masking", "cropping")
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


def parse_setting(
    name: str, *, filters: Filters | None = None, trained: MaskFiltering | None = None,
    recognizer: Recognizer | None = None,
) -> Setting:  # fmt: skip
    """Builds a setting from its name.

    ``full/cls_iou``: a yaml of conf/modulation, then one of conf/filtering.
    ``alpha=5,beta=0.25/cls_iou``: any strength of the modulation.
    ``cropping/cls_iou``: CLIP alone, on images of each proposal.
    ``trained/trained``: recognizer and filter of the checkpoint's own training; ``full/trained``: its filter alone.
    ``full/cls_iou,threshold=0.1,compete=cls,drop_no_object=true,overlap=0.7``: any of these changed.

    Args:
        name: of the setting.
        filters: of the checkpoint's world.
        trained: the checkpoint's own filter.
        recognizer: the checkpoint's own.

    Raises:
        InputError: an unknown name or option.
    """
    recognition, _, filter_name = name.partition("/")
    kind, *options = filter_name.split(",")
    changes = _filter_options(options, name)
    overlap = changes.pop("overlap", None)
    filtering = changed(parse_filtering(kind, filters=filters, trained=trained, setting=name), changes)
    source = recognition if recognition in CROPS else "pooling"
    known = "clip_only" if recognition in CROPS else recognition
    chosen = parse_recognizer(known, trained=recognizer, setting=name)
    return Setting(name, recognition, filter_name, chosen, filtering, source, overlap)


def parse_recognizer(text: str, *, trained: Recognizer | None = None, setting: str | None = None) -> Recognizer:
    """``full``, a yaml of conf/modulation, any strength, ``alpha=5,beta=0.25``, or ``trained``.

    Args:
        text: the name.
        trained: the checkpoint's own recognizer.
        setting: that it is a part of, for the message.

    Raises:
        InputError: an unknown name.
    """
    if text == TRAINED:
        if trained is None:
            raise InputError(f"recognizer '{TRAINED}' is that of a checkpoint: give a checkpoint, or another")
        return trained
    try:
        return instantiate(recognizer_of(text))  # type: ignore[no-any-return]
    except KeyError as error:
        raise _unknown("modulation", text, setting or text) from error
    except (ValueError, InstantiationException) as error:  # Hydra's is about a value out of range
        raise InputError(f"setting '{text}' must look like alpha=5,beta=0.25 ({error})") from error


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
    try:
        raw = option("filtering", text)
    except KeyError as error:
        raise _unknown("filtering", text, setting or text) from error
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


@dataclass(frozen=True)
class TrainedRecognizer:
    """The recognizer of a checkpoint (conf/modulation/trained.yaml).

    Attributes:
        alpha, beta: in place of its own, see :class:`EmbeddingModulation`; ``None`` changes nothing.
    """

    alpha: float | None = None
    beta: float | None = None

    def of(self, trained: TrainedModel) -> Recognizer:
        """The recognizer for a checkpoint.

        Raises:
            InputError: the checkpoint's own takes no alpha or beta.
        """
        changes = {k: v for k, v in dataclasses.asdict(self).items() if v is not None}
        if not changes:
            return trained.recognizer
        config = recognizer_config(trained.recognizer)
        if not changes.keys() <= config.keys():
            raise InputError(
                f"modulation.{min(changes)}: the checkpoint's recognizer, {recognizer_name(config)}, takes none: "
                "choose modulation=full beside it"
            )
        return instantiate({**config, **changes})  # type: ignore[no-any-return]


def choose_recognizer(modulation: DictConfig, trained: TrainedModel) -> Recognizer:
    """What the group ``modulation`` of a command asks for.

    Raises:
        InputError: see :meth:`TrainedRecognizer.of`.
    """
    chosen: Recognizer | TrainedRecognizer = instantiate(modulation)
    return chosen.of(trained) if isinstance(chosen, TrainedRecognizer) else chosen


def recognizer_config(recognizer: Recognizer) -> dict[str, Any]:
    """Class and arguments of a recognizer, as a checkpoint carries them.

    Raises:
        InputError: it does not keep its arguments as attributes of their names.
    """
    kind = type(recognizer)
    try:
        arguments = recognizer.settings()
    except (AttributeError, ValueError) as error:
        raise InputError(f"a recognizer of class {kind.__name__} has no name to save: give one of a class") from error
    return {"_target_": f"{kind.__module__}.{kind.__qualname__}", **arguments}


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


def _unknown(group: str, name: str, setting: str) -> InputError:
    extra = f", {', '.join(CROPS)}, alpha=A,beta=B" if group == "modulation" else ""
    return InputError(
        f"setting '{setting}': no {group} '{name}'; a setting is <recognition>/<filter>, "
        f"with {group} one of {', '.join(options(group))}{extra}"
    )


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
    for key, tried in values.items():
        names = [f"{name},{key}={value:g}" for name in names for value in tried]
    return list(names)
