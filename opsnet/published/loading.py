"""Builds a published model from its weights alone: family by keys, sizes by shapes."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from opsnet.checkpoint.reading import check_finite
from opsnet.checkpoint.stored_network import build_model, build_recognizer
from opsnet.inference.config import InferenceConfig
from opsnet.inference.trained_model import TrainedModel, pick_device
from opsnet.published.clips import clip_config, clip_inside, has_clip
from opsnet.published.families import recognise
from opsnet.published.sizes import backbone_config, model_config
from opsnet.segmenter.published.checkpoints import load_converted
from opsnet.segmenter.published.layouts import convert
from opsnet.segmenter.published.weight_files import WeightsError, read_weights
from opsnet.vocabulary import Vocabulary


def load_published_model(
    path: str | Path, *, clip: str | Path | None = None, clip_weights: str | Path | None = None, device: str = "auto",
    train_vocabulary: str | Path | Vocabulary = "coco",
) -> TrainedModel:  # fmt: skip
    """A published Mask2Former, FC-CLIP or OVRCOAT, with the inference settings of its publication.

    Args:
        path: weights, see :func:`opsnet.segmenter.published.weight_files.read_weights`.
        clip: the CLIP that names are embedded with, see :func:`opsnet.published.clips.clip_config`.
        clip_weights: path of CLIP's weights; default: those in the file, else open_clip's, which are downloaded once.
        device: "auto" uses CUDA if available.
        train_vocabulary: the names that it was trained with.

    Raises:
        WeightsError: the weights cannot be read, are of no known family, incomplete or of an unknown size.
        CheckpointError: a weight is not finite.
        ClipWeightsError: CLIP's weights are missing or do not fit.
    """
    source = read_weights(path)
    check_finite(source, f"weights {path}")
    family = recognise(source, path)
    try:
        converted = convert(source)
        config: dict[str, Any] = {
            "model": model_config(converted.state, is_open=family.is_open),
            "backbone": _shared_backbone() if family.is_open else backbone_config(converted.state),
            "clip": clip_config(clip, converted.state, is_open=family.is_open, weights=clip_weights),
        }
    except WeightsError as error:
        raise WeightsError(f"weights {path} ({family.name}): {error}") from error
    vocabulary = Vocabulary.load(train_vocabulary)
    config |= {
        "experiment": None,
        "overlap": family.inference.overlap,
        "vocabulary": {"name": vocabulary.name, "categories": vocabulary.categories()},
        "inference": stored_inference(family.inference),
    }
    own_clip = clip_weights is None and has_clip(converted.state)
    clip_model = clip_inside(config["clip"], converted.state, path) if own_clip else None
    model = build_model(config, str(path), clip_weights=clip_weights, clip_model=clip_model)
    load_converted(model, converted, path, untrained=family.untrained)
    device = pick_device(device)
    recognizer = build_recognizer(family.inference.recognizer, str(path)).eval().to(device)
    return TrainedModel(model.eval().to(device), vocabulary, family.inference, None, config, recognizer)


def _shared_backbone() -> dict[str, Any]:
    return {"_target_": "opsnet.clip.shared_backbone.SharedClipBackbone", "levels": [1, 2, 3, 4]}


def stored_inference(inference: InferenceConfig) -> dict[str, Any]:
    """Inference settings as a checkpoint stores them."""
    return {key: value for key, value in dataclasses.asdict(inference).items() if key != "overlap"}
