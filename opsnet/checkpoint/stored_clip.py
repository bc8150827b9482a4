"""Validation of the CLIP in a stored configuration: its architecture, its tokenizer, its templates and its weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from opsnet.checkpoint.allowed_targets import IN_FOLDER, Key
from opsnet.checkpoint.plain_values import copy_plain, refuse
from opsnet.clip.custom_config import first_problem
from opsnet.clip.prompts import NAMED

BY_NAME = ("builtin", "random", IN_FOLDER)
"""Values of ``clip.model.weights`` that are no path."""
WEIGHTS_SUFFIXES = (".pt", ".pth", ".bin", ".ckpt", ".safetensors")
"""Ends of the names of files that a stored path may name."""
_MOST_TEMPLATES = 1000


def check_clip(clip: Mapping[str, Any], name: str) -> None:
    """Checks that templates are given in full, CLIP's weights by an absolute path, and models are open_clip's.

    Args:
        clip: the group ``clip``, whose classes and plain values have been checked.
        name: name of the checkpoint or folder, for messages.

    Raises:
        CheckpointError: they are not; the message states the key and its value.
    """
    templates, cached, model = clip.get("templates"), clip.get("text_cache"), clip["model"]
    if templates not in NAMED and not _are_written(templates):
        reason = f"templates must be strings with {{}}, or one of {', '.join(NAMED)}; files are not read"
        refuse(name, ("clip", "templates"), templates, reason)
    if not isinstance(cached, (str, bool, type(None))):
        refuse(name, ("clip", "text_cache"), cached, "it must be true or null")
    _check_weights(model.get("weights"), name)
    _check_custom(model["architecture"], ("clip", "model", "architecture"), name)
    _check_open_clip(model["architecture"], ("clip", "model", "architecture"), name)
    _check_open_clip(clip["tokenizer"], ("clip", "tokenizer"), name)


def stored_weights(config: Any, name: str) -> str | None:
    """``clip.model.weights`` of a stored configuration from which nothing is built.

    Returns:
        A name or the absolute path of a weights file; ``None`` if it states none.

    Raises:
        CheckpointError: the configuration has values that are not plain, or this one is not allowed.
    """
    node = copy_plain(config, name)
    for part in ("clip", "model", "weights"):
        node = node.get(part) if isinstance(node, Mapping) else None
    if node is not None:
        _check_weights(node, name)
    return node if node is not None and may_be_read(node) else None


def may_be_read(weights: str) -> bool:
    """Whether ``clip.model.weights`` of a stored configuration is no path, or one of a weights file."""
    return weights in BY_NAME or Path(weights).suffix.lower() in WEIGHTS_SUFFIXES


def _are_written(templates: Any) -> bool:
    return (
        isinstance(templates, list)
        and 0 < len(templates) <= _MOST_TEMPLATES
        and all(isinstance(template, str) and "{}" in template for template in templates)
    )


def _check_weights(weights: Any, name: str) -> None:
    if not isinstance(weights, str) or not (weights in BY_NAME or Path(weights).is_absolute()):
        refuse(name, ("clip", "model", "weights"), weights, "it must be builtin or an absolute path")


def _check_custom(node: Mapping[str, Any], key: Key, name: str) -> None:
    if node["_target_"] == "opsnet.clip.loading.custom_clip" and (problem := first_problem(node.get("config"))):
        refuse(name, (*key, "config", *problem.key), problem.value, problem.reason)


def _check_open_clip(node: Mapping[str, Any], key: Key, name: str) -> None:
    if node["_target_"] not in ("open_clip.create_model", "open_clip.get_tokenizer"):
        return
    import open_clip  # takes seconds, like building the model itself

    model, weights = node.get("model_name"), node.get("pretrained")
    if model not in open_clip.list_models():
        refuse(name, (*key, "model_name"), model, "open_clip has no model of this name")
    if not _is_dense(open_clip.get_model_config(model)):
        refuse(name, (*key, "model_name"), model, "dense features need a CLIP ResNet or ConvNeXt")
    if weights is not None and weights not in open_clip.list_pretrained_tags_by_model(model):
        refuse(name, (*key, "pretrained"), weights, f"open_clip has no weights of this name for {model}")


def _is_dense(config: Mapping[str, Any]) -> bool:
    """Whether a CLIP has an image tower that networks use, and its own text tower: others are downloaded from the Hub.

    Args:
        config: open_clip's configuration of a model.
    """
    vision, text = config["vision_cfg"], config["text_cfg"]
    convolutional = isinstance(vision.get("layers"), list) or str(vision.get("timm_model_name")).startswith("convnext")
    return convolutional and not any(key.startswith("hf_") for key in text)
