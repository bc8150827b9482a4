"""Inference settings: named combinations of a recognizer and a filter (Tables 4 to 7)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import OmegaConf

from opsnet.inference.config import TRAINED, recognizer_name, recognizer_of
from opsnet.panoptic.mask_filtering import MaskFiltering
from opsnet.recognition.recognizer import Recognizer
from opsnet.utils.configuration import option, options
from opsnet.utils.errors import InputError

log = logging.getLogger(__name__)
OTHER_SOURCES = ("masking", "cropping", "masked_attention")
"""Sources of CLIP embeddings, each a setting of CLIP alone, that need more passes of CLIP than one per image; see
:data:`opsnet.inference.network_output.CLIP_SOURCES`."""
Own = TypeVar("Own", Recognizer, MaskFiltering)
Filters = Mapping[str, Mapping[str, Any]]
"""Changes of a world to the yamls of conf/filtering, by name: ``{"cls": {"threshold": 0.4}}``."""


@dataclass(frozen=True)
class Setting:
    """An inference setting.

    Attributes:
        name: ``<recognition>/<filter>``.
        recognition, filter: the two parts of the name.
        recognizer: embeddings -> logits.
        filtering: logits and IoU -> scores.
        clip_embeds: source of the CLIP embeddings: "pooling" or one of :data:`OTHER_SOURCES`.
        overlap: the merge's overlap threshold; ``None``: the checkpoint's.
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

    ``full/cls_iou``: an option of conf/modulation and one of conf/filtering.
    ``alpha=5,beta=0.25/cls_iou``: Embedding Modulation with any coefficients.
    ``cropping/cls_iou``: only CLIP, on a crop of each proposal; likewise the other :data:`OTHER_SOURCES`.
    ``trained/trained``: recognizer and filter of the checkpoint's training; ``full/trained``: only its filter.
    ``full/cls_iou,threshold=0.1,compete=cls,drop_no_object=true,overlap=0.7``: with changed filter options.

    Args:
        name: name of the setting.
        filters: changes of the checkpoint's world to conf/filtering.
        trained: the checkpoint's filter.
        recognizer: the checkpoint's recognizer.

    Raises:
        InputError: the name or an option is unknown.
    """
    recognition, _, filter_name = name.partition("/")
    kind, changes = _filter_options(filter_name, name)
    overlap = changes.pop("overlap", None)
    filtering = changed(_named_filter(kind, filters, trained, name), changes)
    source = recognition if recognition in OTHER_SOURCES else "pooling"
    known = "clip_only" if recognition in OTHER_SOURCES else recognition
    chosen = parse_recognizer(known, trained=recognizer, setting=name)
    return Setting(name, recognition, filter_name, chosen, filtering, source, overlap)


def parse_recognizer(text: str, *, trained: Recognizer | None = None, setting: str | None = None) -> Recognizer:
    """Builds a recognizer from its name: an option of conf/modulation, ``alpha=5,beta=0.25``, or ``trained``.

    Args:
        text: the name.
        trained: the checkpoint's recognizer.
        setting: name of the setting that contains it, for messages.

    Raises:
        InputError: the name is unknown.
    """
    if text == TRAINED:
        return _of_checkpoint(trained, "recognizer")
    try:
        return warn_if_initial(instantiate(recognizer_of(text)), text)
    except KeyError as error:
        raise _unknown("modulation", text, setting or text) from error
    except InstantiationException as error:  # Hydra's, for a value out of range
        raise InputError(f"setting '{text}': {error.__cause__ or error}") from error
    except ValueError as error:
        raise InputError(f"setting '{text}' must look like alpha=5,beta=0.25 ({error})") from error


def parse_filtering(
    text: str, *, filters: Filters | None = None, trained: MaskFiltering | None = None
) -> MaskFiltering:
    """Builds a filter from its name, an option of conf/filtering or ``trained``, with options: cls_iou,threshold=0.1.

    Args:
        text: the name, and options separated by commas.
        filters, trained: see :func:`parse_setting`.

    Raises:
        InputError: the name or an option is unknown, or a value is invalid.
    """
    kind, changes = _filter_options(text, text)
    if "overlap" in changes:
        raise InputError(f"filtering '{text}': overlap is no option of the filter: give it to Predictor(..., overlap=)")
    return changed(_named_filter(kind, filters, trained, text), changes)


def _named_filter(name: str, filters: Filters | None, trained: MaskFiltering | None, setting: str) -> MaskFiltering:
    if name == TRAINED:
        return _of_checkpoint(trained, "filter")
    try:
        raw = option("filtering", name)
    except KeyError as error:
        raise _unknown("filtering", name, setting) from error
    whole = OmegaConf.create({"filters": filters or {}, "filtering": raw})
    return instantiate(whole.filtering)  # type: ignore[no-any-return]


def _of_checkpoint(own: Own | None, what: str) -> Own:
    if own is None:
        raise InputError(f"{what} '{TRAINED}' is that of a checkpoint's training: give a checkpoint, or another {what}")
    return own


def changed(filtering: MaskFiltering, changes: Mapping[str, Any]) -> MaskFiltering:
    """A copy of a filter with some arguments replaced; without any, the filter.

    Raises:
        InputError: a value is invalid.
    """
    if not changes:
        return filtering
    own = filtering.settings()
    if "kind" in changes:  # arguments that depend on the kind take the new kind's defaults
        own = {"kind": own["kind"], "threshold": own["threshold"]}
    try:
        return MaskFiltering(**{**own, **changes})
    except ValueError as error:
        raise InputError(str(error)) from error


def warn_if_initial(recognizer: Recognizer, name: str) -> Recognizer:
    """Returns ``recognizer``, with a warning if it has parameters: one that is built from its yaml is untrained."""
    if list(recognizer.parameters()):
        log.warning(
            "recognizer '%s' has trainable parameters and is used with their initial values: '%s' is the checkpoint's "
            "trained recognizer", name, TRAINED,
        )  # fmt: skip
    return recognizer


def require_query_embeddings(recognizer: Recognizer, has_query_embeddings: bool, key: str = "") -> None:
    """Refuses a recognizer whose results would come from query embeddings that were never trained for names.

    Args:
        recognizer: the recognizer.
        has_query_embeddings: of the network, see :attr:`opsnet.model.OPSNet.has_query_embeddings`.
        key: name of the setting that contains it, for the message.

    Raises:
        InputError: it needs them and the network has none.
    """
    if recognizer.needs_query_embeddings and not has_query_embeddings:
        raise InputError(
            f"{f'setting {key}: ' if key else ''}a published Mask2Former has no trained query embeddings: choose "
            f"{'a setting clip_only/...' if key else 'modulation=clip_only'}"
        )


def own_recognition(config: Mapping[str, Any], recognizer: Recognizer) -> str:
    """The name of a checkpoint's recognizer in settings; ``trained`` if it learns: other names build an untrained one.

    Args:
        config: its class and arguments.
        recognizer: the recognizer itself.
    """
    return TRAINED if list(recognizer.parameters()) else recognizer_name(config)


def recognizer_config(recognizer: Recognizer) -> dict[str, Any]:
    """Class and arguments of a recognizer, as stored in a checkpoint.

    Raises:
        InputError: its arguments are not attributes of the same names.
    """
    kind = type(recognizer)
    try:
        arguments = recognizer.settings()
    except (AttributeError, ValueError) as error:
        raise InputError(
            f"a recognizer of class {kind.__name__} cannot be saved: its arguments must be attributes of the same names"
        ) from error
    return {"_target_": f"{kind.__module__}.{kind.__qualname__}", **arguments}


def _flag(text: str) -> bool:
    return {"true": True, "false": False}[text.lower()]


def _share(text: str) -> float:
    if not 0 <= (value := float(text)) <= 1:
        raise ValueError(f"{text} is not in 0..1")
    return value


FILTER_OPTIONS: dict[str, Callable[[str], Any]] = {
    "threshold": _share,
    "compete": str,
    "drop_no_object": _flag,
    "overlap": _share,
}


def _filter_options(text: str, name: str) -> tuple[str, dict[str, Any]]:
    """``cls_iou,threshold=0.1`` -> the filter's name and its options; ``name`` is that of the setting, for messages.

    Raises:
        InputError: an option is unknown, or a value is invalid.
    """
    try:
        kind, *options = (part.strip() for part in text.split(","))
        return kind, {key: FILTER_OPTIONS[key](value) for key, value in (option.split("=") for option in options)}
    except (ValueError, KeyError) as error:
        raise InputError(
            f"setting '{name}': the options of a filter are threshold=0.1 and overlap=0.8 (0..1), compete=cls (or iou, "
            "cls_iou) and drop_no_object=true, separated by commas"
        ) from error


def _unknown(group: str, name: str, setting: str) -> InputError:
    if name == setting and group == "modulation":
        return InputError(f"no modulation '{name}': give one of {', '.join(options(group))} or alpha=A,beta=B")
    extra = f", {', '.join(OTHER_SOURCES)}, alpha=A,beta=B" if group == "modulation" else ""
    return InputError(
        f"setting '{setting}': no {group} '{name}'; a setting is <recognition>/<filter>, "
        f"with {group} one of {', '.join(options(group))}{extra}"
    )
