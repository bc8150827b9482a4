"""Builds the network of a stored configuration after :mod:`opsnet.checkpoint.stored_config` has validated it.

Nothing else in the project builds from such a configuration. Classes are imported and called here instead of by Hydra,
because what Hydra allows depends on its version.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from opsnet.checkpoint.allowed_targets import ALLOWED_TARGETS, IN_FOLDER, RECOGNIZER, Key
from opsnet.checkpoint.plain_values import dotted
from opsnet.checkpoint.stored_clip import may_be_read
from opsnet.checkpoint.stored_config import check_config, check_inference, locate
from opsnet.checkpoint.weight_budget import Budget, weights_within
from opsnet.clip.loading import ClipWeightsError
from opsnet.model import OPSNet
from opsnet.recognition.recognizer import Recognizer
from opsnet.utils.errors import CheckpointError, InputError

BUDGET = Budget()
HINT = "give clip_weights=PATH of the CLIP with which the checkpoint was trained"


def build_model(
    config: Any, name: str, *, clip_weights: str | Path | None = None, clip_model: nn.Module | None = None,
    budget: Budget = BUDGET,
) -> OPSNet:  # fmt: skip
    """Builds the network of a configuration; only CLIP's weights are loaded.

    Args:
        config: untrusted configuration, see :func:`opsnet.checkpoint.content.portable_config`.
        name: name of the checkpoint or folder, for messages.
        clip_weights: path of CLIP's weights; default: the path used in training.
        clip_model: an open_clip model with its weights, which replaces that of the configuration.
        budget: the most weights that the network without CLIP may have; by default 2 GiB.

    Raises:
        CheckpointError: the configuration is not allowed, or no network can be built from it.
        ClipWeightsError: CLIP's weights are missing.
    """
    config = check_config(config, name)
    clip = _clip_for_here(config["clip"], name, clip_weights, clip_model)
    try:
        with _collector_paused():
            with weights_within(_clip_budget(clip["model"]), name):
                own_clip = _build(("clip",), clip)
            with weights_within(budget, name):
                backbone = _build(("backbone",), config["backbone"])
                network: OPSNet = _build(("model",), config["model"], backbone=backbone, clip=own_clip)
            return network
    except InputError:
        raise
    except Exception as error:  # the error for mismatched sizes depends on the layer
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(
            f"{name}: no network can be built from its configuration ({type(error).__name__}: {reason})"
        ) from error


def build_recognizer(config: Any, name: str) -> Recognizer:
    """Builds a recognizer from its class and arguments.

    Args:
        config: ``_target_`` and arguments.
        name: name of the checkpoint or folder, for messages.

    Raises:
        CheckpointError: it is not a recognizer, or its arguments are invalid.
    """
    checked = check_inference({RECOGNIZER[-1]: config}, name)
    try:
        with weights_within(BUDGET, name):
            recognizer: Recognizer = _build(RECOGNIZER, checked[RECOGNIZER[-1]])
        return recognizer
    except CheckpointError:
        raise
    except Exception as error:  # the error depends on the class
        raise CheckpointError(f"{name}: {dotted(RECOGNIZER)} cannot be used ({error})") from error


def _build(key: Key, node: Mapping[str, Any], **given: Any) -> Any:
    own = {k: v for k, v in node.items() if not k.startswith("_")}
    parts = {k for k in own if (*key, k) in ALLOWED_TARGETS and isinstance(own[k], Mapping)}
    arguments = {k: _build((*key, k), v) if k in parts else v for k, v in own.items()}
    target = locate(node["_target_"])
    return partial(target, **arguments) if ALLOWED_TARGETS[key].partial else target(**arguments, **given)


def _clip_for_here(
    stored: Mapping[str, Any], name: str, clip_weights: str | Path | None, clip_model: nn.Module | None
) -> dict[str, Any]:
    """CLIP's configuration with the paths of this machine, or with a given model."""
    clip = {**stored, "text_cache": text_cache() if stored["text_cache"] else None}
    if clip_model is not None:
        return {**clip, "model": clip_model}
    clip["model"] = {**stored["model"], "hint": HINT}
    if clip_weights is None:
        if stored["model"]["weights"] == IN_FOLDER:
            raise ClipWeightsError(f"{name} does not contain the weights of its CLIP: {HINT}")
        if not may_be_read(stored["model"]["weights"]):
            raise ClipWeightsError(f"{name}: the path of its CLIP is none of a weights file, and is not read: {HINT}")
        return clip
    clip["model"]["weights"] = str(clip_weights)
    if stored["model"]["architecture"].get("pretrained"):  # these weights would be downloaded and then overwritten
        clip["model"]["architecture"] = {**stored["model"]["architecture"], "pretrained": None}
    return clip


def _clip_budget(node: Any) -> Budget:
    """The most weights of a CLIP: those of a model that open_clip knows by name, or several times those in its file."""
    if isinstance(node, nn.Module) or node["architecture"]["_target_"] == "open_clip.create_model":
        return Budget(values=2**31)
    path = Path(node["weights"]).expanduser()
    return Budget(values=max(4 * path.stat().st_size if path.is_file() else 0, 2**26))


def text_cache() -> Path:
    """The text embedding cache of this machine, as in ``conf/paths`` and ``conf/clip``."""
    return Path(os.environ.get("OPSNET_CACHE", "~/.cache/opsnet")).expanduser() / "text_banks"


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Pauses garbage collection, which takes a fifth of the time to import timm and open_clip."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
