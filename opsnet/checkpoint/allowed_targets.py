"""Allowlist: what may be built from a stored configuration, and under which key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

Key = tuple[str, ...]


@dataclass(frozen=True)
class AllowedTarget:
    """What may be built under one key of the configuration.

    Attributes:
        targets: full names of the allowed classes or functions.
        partial: whether it must be a partial, which its owner calls later with further arguments.
        given: arguments that the owner adds.
    """

    targets: tuple[str, ...]
    partial: bool = False
    given: tuple[str, ...] = ()


NETWORK: Mapping[Key, AllowedTarget] = {
    ("model",): AllowedTarget(("opsnet.model.OPSNet",), given=("backbone", "clip", "zero_shot")),
    ("model", "pixel_decoder"): AllowedTarget(("opsnet.segmenter.pixel_decoder.PixelDecoder",), True, ("in_channels",)),
    ("model", "query_decoder"): AllowedTarget(
        ("opsnet.segmenter.query_decoder.QueryDecoder",), True, ("clip_dim", "clip_map_dim")
    ),
    ("backbone",): AllowedTarget(
        ("opsnet.segmenter.backbone.Backbone", "opsnet.clip.shared_backbone.SharedClipBackbone")
    ),
    ("clip",): AllowedTarget(("opsnet.clip.frozen_clip.FrozenClip",)),
    ("clip", "model"): AllowedTarget(("opsnet.clip.loading.load_clip",)),
    ("clip", "model", "architecture"): AllowedTarget(
        ("open_clip.create_model", "opsnet.clip.tiny.tiny_clip", "opsnet.clip.loading.custom_clip"), True
    ),
    ("clip", "tokenizer"): AllowedTarget(("open_clip.get_tokenizer", "open_clip.tokenizer.SimpleTokenizer")),
}
RECOGNIZER: Key = ("inference", "recognizer")
RECOGNIZERS = (
    "opsnet.recognition.modulation.EmbeddingModulation",
    "opsnet.recognition.modulation.QueryOnly",
    "opsnet.recognition.modulation.ClipOnly",
    "opsnet.recognition.modulation.FixedEnsemble",
    "opsnet.recognition.geometric_ensemble.GeometricEnsemble",
    "opsnet.recognition.learned_modulation.LearnedModulation",
)
ALLOWED_TARGETS: Mapping[Key, AllowedTarget] = {**NETWORK, RECOGNIZER: AllowedTarget(RECOGNIZERS)}

ARGUMENTS: Mapping[str, tuple[str, ...]] = {
    "open_clip.create_model": ("model_name", "pretrained", "precision", "force_quick_gelu"),
    "open_clip.get_tokenizer": ("model_name", "context_length"),
    "open_clip.tokenizer.SimpleTokenizer": ("context_length", "clean"),
}
CHECKED_APART: tuple[Key, ...] = (
    ("clip", "templates"), ("clip", "text_cache"), ("clip", "model", "weights"), ("clip", "model", "hint"),
)  # fmt: skip
"""Arguments with their own checks; the hint is replaced before anything is built."""
NULL: tuple[Key, ...] = (("model", "weights"), ("backbone", "weights"), ("backbone", "pretrained"))
"""Initial weights, which a checkpoint does not need."""
TIMM_FILES = ("checkpoint_path", "cache_dir")
"""Arguments of ``timm.create_model`` that are file paths; those beginning with ``pretrained`` may download files."""
TIMM_LIMITS = {"window": 32, "size": 2048}
"""Part of an argument's name -> its largest number."""
IN_FOLDER = "clip.safetensors"
"""``clip.model.weights`` in a folder of ``save_pretrained``: the folder's own file."""
TRUSTED = "OPSNET_TRUSTED_CLASSES"
"""Environment variable: full names, separated by commas, of user classes that a configuration may also build."""
