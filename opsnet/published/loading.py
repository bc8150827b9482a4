"""Builds a published model from its weights alone: family by keys, sizes by shapes."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from opsnet.checkpoint.reading import check_finite
from opsnet.checkpoint.stored_network import build_model, build_recognizer
from opsnet.checkpoint.weight_budget import Budget
from opsnet.inference.config import InferenceConfig
from opsnet.inference.trained_model import TrainedModel, pick_device
from opsnet.published.clips import clip_config, clip_differences, clip_inside, has_clip
from opsnet.published.families import Family, recognise
from opsnet.published.sizes import HEADS, backbone_config, model_config
from opsnet.segmenter.published.checkpoints import load_converted
from opsnet.segmenter.published.layouts import Converted, convert
from opsnet.segmenter.published.weight_files import WeightsError, read_weights
from opsnet.utils.errors import InputError
from opsnet.vocabulary import Vocabulary
from opsnet.vocabulary.vocabulary import load_training_vocabulary

log = logging.getLogger(__name__)
AGAIN = "download the file again"


def load_published_model(
    path: str | Path, *, clip: str | Path | None = None, clip_weights: str | Path | None = None, device: str = "auto",
    train_vocabulary: str | Path | Vocabulary | None = None,
) -> TrainedModel:  # fmt: skip
    """A published Mask2Former, FC-CLIP or OVRCOAT, with the inference settings of its publication.

    Args:
        path: weights, see :func:`opsnet.segmenter.published.weight_files.read_weights`.
        clip: the CLIP that names are embedded with, see :func:`opsnet.published.clips.clip_config`.
        clip_weights: path of CLIP's weights, which replace those in the file (with a warning if they differ); default:
            those in the file, else open_clip's, which are downloaded once.
        device: "auto" uses CUDA if available.
        train_vocabulary: the names that it was trained with, see :meth:`Vocabulary.load`; default: ``coco``.

    Raises:
        WeightsError: the weights cannot be read, are of no known family, incomplete or of an unknown size.
        CheckpointError: a weight is not finite.
        ClipWeightsError: CLIP's weights are missing or do not fit.
        VocabularyError: the training names cannot be read.
    """
    vocabulary = load_training_vocabulary("coco" if train_vocabulary is None else train_vocabulary)
    source = read_weights(path)
    check_finite(source, f"weights {path}", f"the file is damaged: {AGAIN}")
    family = recognise(source, path)
    converted, config = _configuration(source, family, path, clip, clip_weights)
    config |= {
        "experiment": None,
        "overlap": family.inference.overlap,
        "vocabulary": {"name": vocabulary.name, "categories": vocabulary.categories()},
        "inference": stored_inference(family.inference),
    }
    own_clip = clip_weights is None and has_clip(converted.state)
    clip_model = clip_inside(config["clip"], converted.state, path) if own_clip else None
    model = build_model(
        config, f"weights {path}", clip_weights=clip_weights, clip_model=clip_model,
        budget=Budget.of(converted.state),
    )  # fmt: skip
    if differences := clip_differences(model.clip.text_encoder.clip, converted.state):
        log.warning(
            "weights %s contain %s by clip_weights, which is used instead: its heads do not know it", path, differences
        )
    load_converted(model, converted, path, untrained=family.untrained, fix=AGAIN)
    device = pick_device(device)
    recognizer = build_recognizer(family.inference.recognizer, str(path)).eval().to(device)
    return TrainedModel(model.eval().to(device), vocabulary, family.inference, None, config, recognizer)


def _configuration(
    source: Mapping[str, Tensor], family: Family, path: str | Path, clip: str | Path | None,
    clip_weights: str | Path | None,
) -> tuple[Converted, dict[str, Any]]:  # fmt: skip
    """The weights under our names, and the groups that build their network.

    Raises:
        WeightsError, ClipWeightsError: see :func:`load_published_model`.
    """
    name = f"weights {path} ({family.name})"
    try:
        _check_heads(Path(path))
        converted = convert(source)
        state = converted.state
        return converted, {
            "model": model_config(state, is_open=family.is_open),
            "backbone": _shared_backbone() if family.is_open else backbone_config(state),
            "clip": clip_config(clip, state, is_open=family.is_open, weights=clip_weights),
        }
    except WeightsError as error:
        raise WeightsError(f"{name}: {error}") from error
    except InputError:
        raise
    except (LookupError, ArithmeticError, TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise WeightsError(
            f"{name}: its decoders are incomplete or have other sizes ({type(error).__name__}: {reason}): {AGAIN}"
        ) from error


def _check_heads(folder: Path) -> None:
    """Refuses a folder of transformers with another number of heads, which no shape depends on.

    Raises:
        WeightsError: its ``config.json`` says so, or is not one.
    """
    path = folder / "config.json"
    if not path.is_file():
        return
    try:
        heads = json.loads(path.read_text(encoding="utf-8")).get("num_attention_heads", HEADS)
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise WeightsError(f"{path} is not a configuration of transformers ({error!r}): {AGAIN}") from error
    if heads != HEADS:
        raise WeightsError(f"{path} has num_attention_heads={heads}, but every published one has {HEADS}")


def _shared_backbone() -> dict[str, Any]:
    return {"_target_": "opsnet.clip.shared_backbone.SharedClipBackbone", "levels": [1, 2, 3, 4]}


def stored_inference(inference: InferenceConfig) -> dict[str, Any]:
    """Inference settings as a checkpoint stores them."""
    return {key: value for key, value in dataclasses.asdict(inference).items() if key != "overlap"}
