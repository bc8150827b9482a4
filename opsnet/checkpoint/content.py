"""The content of a checkpoint.

In addition to Lightning's content, a checkpoint has ``opsnet``: the hash of CLIP, whose frozen weights are left out,
and the configuration to rebuild the network and to use it (:class:`opsnet.inference.config.InferenceConfig`). A
training with ``ema`` adds the moving average of its weights under ``ema``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from opsnet.clip.prompts import NAMED, prompt_templates
from opsnet.inference.config import checked_semantic
from opsnet.panoptic.mask_filtering import MaskFiltering
from opsnet.utils.errors import InputError
from opsnet.vocabulary import Vocabulary

FROZEN_PREFIXES = ("model.clip.",)
"""Prefixes of weights that checkpoints do not have: they never change, and are loaded from their original file."""

AVERAGE = "ema"
"""Key of the moving average: its ``decay``, the ``step`` after which it was updated, and the ``weights`` by name."""


def add_content(checkpoint: dict[str, Any], clip_hash: str, config: Mapping[str, Any]) -> None:
    """Turns Lightning's checkpoint into OPSNet's: removes frozen weights, adds CLIP's hash and the configuration."""
    checkpoint["state_dict"] = trained_weights(checkpoint["state_dict"])
    checkpoint["opsnet"] = {"clip_hash": clip_hash, "config": config}


def trained_weights(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a module that are stored in a checkpoint."""
    return {k: v for k, v in state.items() if not k.startswith(FROZEN_PREFIXES)}


RENAMED = {"void_embed": "no_object_embed"}
"""Old names in earlier checkpoints -> names in :class:`OPSNet`."""


def renamed_weights(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of an earlier checkpoint by their current names, with or without the prefix ``model.``."""
    names = {prefix + old: prefix + new for old, new in RENAMED.items() for prefix in ("", "model.")}
    return {names.get(key, key): value for key, value in state.items()}


def frozen_weights(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a module that are not stored in a checkpoint."""
    return {k: v for k, v in state.items() if k.startswith(FROZEN_PREFIXES)}


def network_config(cfg: DictConfig) -> dict[str, Any]:
    """The configuration groups that build the network, without initial weights, which the checkpoint's replace."""
    parts: dict[str, Any] = {
        key: OmegaConf.to_container(cfg[key], resolve=True) for key in ("model", "backbone", "clip")
    }
    for part, key, none in (
        ("backbone", "pretrained", False),
        ("backbone", "weights", None),
        ("model", "weights", None),
    ):
        if key in parts[part]:  # a user's class may not have this argument
            parts[part][key] = none
    return parts


def portable_config(
    cfg: DictConfig, vocabulary: Vocabulary, label_vocabulary: Vocabulary | None = None
) -> dict[str, Any]:
    """The configuration stored in a checkpoint, with which the same network can be built and used in any folder.

    Args:
        cfg: conf/train.yaml.
        vocabulary: the training vocabulary.
        label_vocabulary: the vocabulary of its image labels (OPSNet+).

    Raises:
        InputError: no filter or recognizer is chosen, ``semantic`` is unknown, or the prompt templates cannot be read.
    """
    parts = network_config(cfg)
    clip = parts["clip"]
    if clip["model"]["weights"] not in ("builtin", "random"):
        clip["model"]["weights"] = str(Path(clip["model"]["weights"]).expanduser().absolute())
    if clip["templates"] not in NAMED:
        clip["templates"] = list(prompt_templates(clip["templates"]))  # they may be in a file
    if "text_cache" in clip:
        clip["text_cache"] = True if clip["text_cache"] is not None else None
    names = {"vocabulary": vocabulary, "label_vocabulary": label_vocabulary}
    lists = {k: {"name": v.name, "categories": v.categories()} for k, v in names.items() if v is not None}
    return {**parts, "experiment": cfg.experiment_name, "overlap": cfg.overlap, **lists, "inference": _inference(cfg)}


def _inference(cfg: DictConfig) -> dict[str, Any]:
    """The inference settings used in validation: the fields of :class:`InferenceConfig` except ``overlap``."""
    from hydra.utils import instantiate

    filtering = instantiate(cfg.filtering)
    if not isinstance(filtering, MaskFiltering):
        raise InputError("filtering=trained is the filter of a checkpoint: choose one to train with, e.g. cls_iou")
    if not callable(instantiate(cfg.modulation)):
        raise InputError("modulation=trained is the recognizer of a checkpoint: choose one to train with, e.g. full")
    filters = OmegaConf.to_container(cfg.filters, resolve=True) if cfg.get("filters") else {}
    return {
        "recognizer": OmegaConf.to_container(cfg.modulation, resolve=True),
        "filtering": filtering.settings(),
        "filters": filters,
        **{key: OmegaConf.select(cfg.data, key) for key in ("shortest", "longest") if key in cfg.data},
        "tuning_images": OmegaConf.select(cfg.data, "tuning_images") or 0,
        "semantic": checked_semantic(cfg.semantic),
    }
