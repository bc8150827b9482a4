"""Validation of the untrusted configuration in a checkpoint or saved folder, from which networks are built.

:func:`check_config` traverses all of it and allows

- only plain values: mappings, lists, texts, numbers, booleans, null; no text holds ``${``, so nothing is interpolated;
- ``_target_`` only where a network has parts (:mod:`opsnet.checkpoint.allowed_targets`), each with full names only.
  ``_partial_`` must be as listed there, ``_convert_`` one of Hydra's four values; ``_args_``, ``_recursive_`` and all
  other keys that begin with an underscore are refused everywhere;
- arguments of the class; for open_clip's functions only those listed in ``allowed_targets``, since others read, write
  or download files (``cache_dir``, ``bpe_path``, ``pretrained_image_path``, ...), and only models and weights that
  open_clip provides by name, none from the Hub;
- words and numbers as their values: no paths, URLs or Hub ids.

Two values that may be paths are not trusted. ``clip.text_cache`` only states whether text embeddings are cached; the
location is set by this machine (``OPSNET_CACHE``). ``clip.model.weights`` is the path of CLIP's weights in training, so
that users' own checkpoints need no option: such a file is only read, by loaders that execute none of its content
(:mod:`opsnet.checkpoint.stored_network`), and its hash is compared. Prompt templates are stored in the configuration
itself, because messages would reveal the content of a template file.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from opsnet.checkpoint.allowed_targets import (
    ALLOWED_TARGETS,
    ARGUMENTS,
    CHECKED_APART,
    IN_FOLDER,
    NETWORK,
    NULL,
    RECOGNIZER,
    TIMM_FILES,
    TRUSTED,
    Key,
)  # fmt: skip
from opsnet.clip.custom_config import first_problem
from opsnet.clip.prompts import NAMED
from opsnet.inference.config import SEMANTIC, InferenceConfig
from opsnet.utils.errors import CheckpointError

_WORD = re.compile(r"[\w.+-]*")
_CONVERT = ("none", "partial", "object", "all")
_DEPTH, _NODES = 32, 2_000_000  # a pickled list may contain itself, or another list many times


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
    _check_clip(copied["clip"], name)
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


def copy_plain(config: Any, name: str) -> Any:
    """A copy of plain values, in which only allowed keys contain class names.

    Raises:
        CheckpointError: a value is not plain; the message states the key and the value.
    """
    count = 0

    def copied(value: Any, key: Key) -> Any:
        nonlocal count
        count += 1
        if len(key) > _DEPTH or count > _NODES:
            raise CheckpointError(f"{name}: its configuration is nested too deep or too large at {dotted(key)[:100]}")
        if isinstance(value, Mapping):
            return {_plain_key(k, v, key, name): copied(v, (*key, str(k))) for k, v in value.items()}
        if isinstance(value, (list, tuple)):
            return [copied(v, (*key, str(i))) for i, v in enumerate(value)]
        if isinstance(value, str) and "${" in value:
            refuse(name, key, value, "nothing in a stored configuration is interpolated")
        if value is not None and type(value) not in (str, bool, int, float):
            refuse(name, key, value, f"a {type(value).__name__} is not a plain value")
        return value

    return copied(config, ())


def _plain_key(own: Any, value: Any, parent: Key, name: str) -> str:
    if type(own) is not str or "${" in own:
        refuse(name, (*parent, str(own)), value, "keys must be plain strings")
    if own.startswith("_") and not (own in ("_target_", "_partial_", "_convert_") and parent in ALLOWED_TARGETS):
        refuse(name, (*parent, own), value, "nothing may be built there, or not in this way")
    return own


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
    for own, item in _items(value):
        if key == ("backbone", "model_args") and (own in TIMM_FILES or own.startswith("pretrained")):
            refuse(name, (*key, own), item, "it makes timm read or download files")
        _check_argument(item, (*key, own), name)


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


def _check_clip(clip: Mapping[str, Any], name: str) -> None:
    """Checks that templates are given in full, CLIP's weights by an absolute path, and models are open_clip's."""
    templates, cached, weights = clip.get("templates"), clip.get("text_cache"), clip["model"].get("weights")
    written = isinstance(templates, list) and templates and all(isinstance(t, str) and "{}" in t for t in templates)
    if not written and templates not in NAMED:
        reason = f"templates must be strings with {{}}, or one of {', '.join(NAMED)}; files are not read"
        refuse(name, ("clip", "templates"), templates, reason)
    if not isinstance(cached, (str, bool, type(None))):
        refuse(name, ("clip", "text_cache"), cached, "it must be true or null")
    by_name = weights in ("builtin", "random", IN_FOLDER)
    if not isinstance(weights, str) or not (by_name or Path(weights).is_absolute()):
        refuse(name, ("clip", "model", "weights"), weights, "it must be builtin or an absolute path")
    _check_custom_clip(clip["model"]["architecture"], ("clip", "model", "architecture"), name)
    _check_open_clip(clip["model"]["architecture"], ("clip", "model", "architecture"), name)
    _check_open_clip(clip["tokenizer"], ("clip", "tokenizer"), name)


def _check_custom_clip(node: Mapping[str, Any], key: Key, name: str) -> None:
    if node["_target_"] == "opsnet.clip.loading.custom_clip" and (problem := first_problem(node.get("config"))):
        refuse(name, (*key, "config", *problem.key), problem.value, problem.reason)


def _check_open_clip(node: Mapping[str, Any], key: Key, name: str) -> None:
    if node["_target_"] not in ("open_clip.create_model", "open_clip.get_tokenizer"):
        return
    import open_clip  # takes seconds, like building the model itself

    model, weights = node.get("model_name"), node.get("pretrained")
    if model not in open_clip.list_models():
        refuse(name, (*key, "model_name"), model, "open_clip has no model of this name")
    if weights is not None and weights not in open_clip.list_pretrained_tags_by_model(model):
        refuse(name, (*key, "pretrained"), weights, f"open_clip has no weights of this name for {model}")


def _check_training(config: Mapping[str, Any], name: str) -> None:
    """Checks the other information on the training."""
    experiment, overlap, vocabulary = (config.get(key) for key in ("experiment", "overlap", "vocabulary"))
    is_name = experiment is None or (isinstance(experiment, str) and ".." not in Path(experiment).parts)
    if not is_name or Path(experiment or "").is_absolute():
        refuse(name, ("experiment",), experiment, "it must be the name of an experiment")
    if isinstance(overlap, bool) or not isinstance(overlap, (int, float)):
        refuse(name, ("overlap",), overlap, "it must be a number")
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


def dotted(key: Key) -> str:
    """``model.query_decoder._target_``."""
    return ".".join(key)


def refuse(name: str, key: Key, value: Any, reason: str) -> NoReturn:
    """Refuses a value, with a message that states key and value.

    Raises:
        CheckpointError: always.
    """
    shown = repr(value)
    shown = shown if len(shown) <= 100 else f"{shown[:97]}..."
    raise CheckpointError(f"{name}: its configuration has {dotted(key)} = {shown}: {reason}")
