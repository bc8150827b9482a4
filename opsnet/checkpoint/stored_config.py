"""Validation of the untrusted configuration in a checkpoint or saved folder, from which networks are built.

:func:`check_config` traverses all of it and allows

- only plain values (:mod:`opsnet.checkpoint.plain_values`); no text holds ``${``, so nothing is interpolated;
- ``_target_`` only where a network has parts (:mod:`opsnet.checkpoint.allowed_targets`), each with full names only.
  ``_partial_`` must be as listed there, ``_convert_`` one of Hydra's four values; ``_args_``, ``_recursive_`` and all
  other keys that begin with an underscore are refused everywhere;
- arguments of the class; for open_clip's functions only those listed in ``allowed_targets``, since others read, write
  or download files (``cache_dir``, ``bpe_path``, ``pretrained_image_path``, ...), and only models and weights that
  open_clip provides by name (:mod:`opsnet.checkpoint.stored_clip`);
- words and numbers of usual size as their values: no paths, URLs or Hub ids.

Two values that may be paths are not trusted. ``clip.text_cache`` only states whether text embeddings are cached; the
location is set by this machine (``OPSNET_CACHE``). ``clip.model.weights`` is the path of CLIP's weights in training, so
that users' own checkpoints need no option: only a file with a suffix of weights is read, by loaders that execute none
of its content (:mod:`opsnet.clip.loading`), and its hash is compared. Prompt templates are stored in the configuration
itself, because messages would reveal the content of a template file.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import os
import re
from collections.abc import Mapping
from typing import Any

from opsnet.checkpoint.allowed_targets import (
    ALLOWED_TARGETS,
    ARGUMENTS,
    CHECKED_APART,
    NETWORK,
    NULL,
    RECOGNIZER,
    TIMM_FILES,
    TIMM_LIMITS,
    TRUSTED,
    Key,
)  # fmt: skip
from opsnet.checkpoint.plain_values import copy_plain, dotted, refuse
from opsnet.checkpoint.stored_clip import check_clip
from opsnet.inference.config import SEMANTIC, InferenceConfig
from opsnet.utils.errors import CheckpointError

_WORD = re.compile(r"[\w.+-]*")
_CONVERT = ("none", "partial", "object", "all")
_LARGEST = 1_000_000  # of a number in a network, all of which are sizes, rates or strengths
_NAME = re.compile(r"[^/\\~]{1,200}(/[^/\\~]{1,200})*")


def check_config(config: Any, name: str) -> dict[str, Any]:
    """Validates the configuration of a network, so that it is safe to build from.

    Args:
        config: the configuration in a checkpoint or folder.
        name: name of the checkpoint or folder, for messages.

    Returns:
        A copy in which ``clip.text_cache`` is true or null.

    Raises:
        CheckpointError: it is not allowed; the message states the key and its value.
    """
    copied = copy_plain(config, name)
    if not isinstance(copied, dict):
        raise CheckpointError(f"{name}: its configuration is a {type(copied).__name__}, not a mapping")
    for key in NETWORK:
        _check_place(copied, key, name)
    check_clip(copied["clip"], name)
    if "inference" in copied:
        _check_inference(copied["inference"], name)
    _check_training(copied, name)
    copied["clip"]["text_cache"] = True if copied["clip"].get("text_cache") else None
    return copied


def check_inference(inference: Any, name: str) -> dict[str, Any]:
    """Validates inference settings: fields of :class:`InferenceConfig`.

    Raises:
        CheckpointError: they are not allowed; the message states the key and its value.
    """
    copied: dict[str, Any] = copy_plain({"inference": inference}, name)["inference"]
    _check_inference(copied, name)
    return copied


def _check_place(config: Mapping[str, Any], key: Key, name: str) -> None:
    """Checks class, form and arguments of what will be built under a key."""
    node: Any = config
    for part in key:
        node = node.get(part) if isinstance(node, Mapping) else None
    if not isinstance(node, Mapping):
        refuse(name, key, node, "a network needs it")
    place, target = ALLOWED_TARGETS[key], node.get("_target_")
    if not isinstance(target, str) or target not in (*place.targets, *trusted_classes()):
        known = " or ".join(place.targets)
        refuse(name, (*key, "_target_"), target, f"only {known} is allowed; list your own classes in {TRUSTED}")
    if node.get("_partial_", False) is not place.partial:
        refuse(name, (*key, "_partial_"), node.get("_partial_"), f"it must be {str(place.partial).lower()}")
    if node.get("_convert_", "none") not in _CONVERT:
        refuse(name, (*key, "_convert_"), node["_convert_"], f"it must be one of {', '.join(_CONVERT)}")
    takes = _arguments(target, name, key)
    for argument, value in node.items():
        if argument.startswith("_") or (*key, argument) in ALLOWED_TARGETS:
            continue
        if takes is not None and (argument not in takes or argument in place.given):
            refuse(name, (*key, argument), value, f"{target} accepts no such argument from a configuration")
        if (*key, argument) not in CHECKED_APART:
            _check_argument(value, (*key, argument), name)


def _arguments(target: str, name: str, key: Key) -> tuple[str, ...] | None:
    """The arguments that a configuration may set; ``None``: any."""
    if target in ARGUMENTS:
        return ARGUMENTS[target]
    try:
        parameters = inspect.signature(locate(target)).parameters
    except (ImportError, AttributeError) as error:  # a class that the user trusts
        raise CheckpointError(
            f"{name}: {dotted(key)}._target_ = {target!r} cannot be imported ({error}): add its folder to PYTHONPATH"
        ) from error
    if target in trusted_classes() and any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return None
    return tuple(p.name for p in parameters.values() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD))


def _check_argument(value: Any, key: Key, name: str) -> None:
    """Refuses anything that could be a path, URL or Hub id, also in lists and mappings."""
    if key in NULL and value not in (None, False):
        refuse(name, key, value, "a checkpoint has its own weights and needs no initial ones")
    if isinstance(value, str) and not _WORD.fullmatch(value):
        refuse(name, key, value, "a word is expected, not a path, URL or Hub id")
    if type(value) in (int, float) and abs(value) > (limit := _largest(key)):
        refuse(name, key, value, f"it is not a number of usual size, at most {limit:,}")
    for own, item in _items(value):
        if key == ("backbone", "model_args") and (own in TIMM_FILES or own.startswith("pretrained")):
            refuse(name, (*key, own), item, "it makes timm read or download files")
        _check_argument(item, (*key, own), name)


def _largest(key: Key) -> int:
    """The largest number under a key; timm's tables and masks grow with the fourth power of some sizes."""
    if key[:2] != ("backbone", "model_args"):
        return _LARGEST
    return min([limit for part, limit in TIMM_LIMITS.items() if any(part in k for k in key)], default=_LARGEST)


def _items(value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, Mapping):
        return list(value.items())
    return [(str(i), item) for i, item in enumerate(value)] if isinstance(value, list) else []


def _check_inference(inference: Any, name: str) -> None:
    if not isinstance(inference, Mapping):
        refuse(name, ("inference",), inference, "it must be a mapping")
    known = {field.name for field in dataclasses.fields(InferenceConfig)}
    for key, value in inference.items():
        if key not in known:
            refuse(name, ("inference", key), value, f"it must be one of {', '.join(sorted(known))}")
        if ("inference", key) == RECOGNIZER:
            _check_place({"inference": inference}, RECOGNIZER, name)
        elif key == "semantic" and value not in SEMANTIC:
            refuse(name, ("inference", key), value, f"it must be {' or '.join(SEMANTIC)}")
        else:
            _check_argument(value, ("inference", key), name)


def _check_training(config: Mapping[str, Any], name: str) -> None:
    """Checks the other information on the training."""
    experiment, overlap, vocabulary = (config.get(key) for key in ("experiment", "overlap", "vocabulary"))
    is_name = isinstance(experiment, str) and _NAME.fullmatch(experiment) and ".." not in experiment.split("/")
    if experiment is not None and not is_name:
        refuse(name, ("experiment",), experiment, "it must be the name of an experiment")
    if isinstance(overlap, bool) or not isinstance(overlap, (int, float)) or not 0 <= overlap <= 1:
        refuse(name, ("overlap",), overlap, "it must be a number of 0 to 1")
    for key, value in (("vocabulary", vocabulary), ("label_vocabulary", config.get("label_vocabulary", vocabulary))):
        if not isinstance(value, Mapping) or value.keys() != {"name", "categories"}:
            refuse(name, (key,), value, "it must have a name and categories")


def locate(target: str) -> Any:
    """Imports the object with an allowed full name.

    Raises:
        ImportError, AttributeError: it does not exist.
    """
    module, _, attribute = target.rpartition(".")
    return getattr(importlib.import_module(module), attribute)


def trusted_classes() -> tuple[str, ...]:
    """Full names that the user of this machine allows in addition."""
    return tuple(name.strip() for name in os.environ.get(TRUSTED, "").split(",") if name.strip())
