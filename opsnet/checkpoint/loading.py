"""Loads a checkpoint to resume, to fine-tune, or for inference.

Resuming and fine-tuning build nothing from the checkpoint's configuration: the network is built from the user's.
Loading for inference does, with :func:`opsnet.checkpoint.stored_network.build_model`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from opsnet.checkpoint.content import renamed_weights, trained_weights
from opsnet.checkpoint.reading import (
    check_clip_hash,
    inference_weights,
    load_recognizer,
    load_weights,
    network_weights,
    read_checkpoint,
    recognizer_weights,
)
from opsnet.checkpoint.stored_config import check_config
from opsnet.checkpoint.stored_network import build_model, build_recognizer
from opsnet.checkpoint.weight_budget import Budget
from opsnet.inference.config import InferenceConfig
from opsnet.inference.settings import recognizer_config
from opsnet.inference.trained_model import TrainedModel, pick_device
from opsnet.model import OPSNet
from opsnet.recognition.recognizer import Recognizer
from opsnet.utils.errors import CheckpointError, InputError
from opsnet.vocabulary import Vocabulary

LONGEST_EDGE = 8192
"""The most pixels to which a checkpoint may ask to resize an image's edge."""


def check_resume(
    path: Path, clip_hash: str, streams: int, weights: Mapping[str, Tensor] | None = None
) -> dict[str, Any]:
    """Checks that a run can resume from a checkpoint.

    Args:
        path: path of the checkpoint.
        clip_hash: hash of the loaded CLIP.
        streams: number of training streams, see :class:`opsnet.data.mixed.MixedDataModule`.
        weights: of the module that resumes, by their names in it.

    Returns:
        The content of the checkpoint.

    Raises:
        CheckpointError: it is not a checkpoint, or was trained with another CLIP, other data or another network.
    """
    checkpoint = read_checkpoint(path, key="resume")
    check_clip_hash(checkpoint, clip_hash, f"checkpoint {path}")
    loader: Any = checkpoint
    for part in ("loops", "fit_loop", "state_dict", "combined_loader"):
        loader = loader.get(part, ()) if isinstance(loader, Mapping) else ()
    before = len(loader) or streams
    if before != streams:
        raise CheckpointError(
            f"checkpoint {path} (resume) was trained on {before} streams of images, but data has {streams}: resume "
            "with the data group of the training, or start a new training from its weights with init_from"
        )
    if weights is not None:
        _check_same_weights(checkpoint["state_dict"], weights, path)
    return checkpoint


def _check_same_weights(stored: Mapping[str, Tensor], own: Mapping[str, Tensor], path: Path) -> None:
    """Refuses a checkpoint that Lightning could not load into the module."""
    stored, own = renamed_weights(stored), trained_weights(own)
    wrong = sorted(own.keys() ^ stored.keys())
    wrong += sorted(key for key in own.keys() & stored.keys() if own[key].shape != stored[key].shape)
    if wrong:
        raise CheckpointError(
            f"checkpoint {path} (resume) has another network, recognizer or losses ({len(wrong)} weights differ, the "
            f"first is {wrong[0]}): resume with the options of its training, or start a new training from its weights "
            "with init_from"
        )


def load_initial_weights(model: OPSNet, path: str | Path, recognizer: Recognizer | None = None) -> None:
    """Starts a network from the weights of a trained checkpoint, averaged ones where it has them.

    Its optimizer and progress are left behind.

    Args:
        model: the network.
        path: of the checkpoint.
        recognizer: receives the weights of the checkpoint's recognizer, if it is of the same kind.

    Raises:
        CheckpointError: the file does not exist, is not a checkpoint, or has another CLIP or network.
    """
    checkpoint, name = read_checkpoint(path, key="init_from"), f"checkpoint {path} (init_from)"
    check_clip_hash(checkpoint, model.clip.weights_hash, name)
    stored = inference_weights(checkpoint, name)
    load_weights(model, network_weights(stored), name, "give the backbone and model that it was trained with")
    learned = recognizer_weights(stored)
    if recognizer is not None and learned.keys() == recognizer.state_dict().keys():
        load_recognizer(recognizer, learned, name)


def load_checkpoint(
    path: str | Path,
    *,
    clip_weights: str | Path | None = None,
    device: str = "auto",
    treat_label_names_as_seen: bool = False,
    ema: bool = True,
    key: str = "",
) -> TrainedModel:
    """Builds the network that a checkpoint describes and loads its weights.

    Args:
        path: a checkpoint written by ``opsnet-train``.
        clip_weights: path of CLIP's weights; default: the path used in training.
        device: "auto" uses CUDA if available.
        treat_label_names_as_seen: treat names that were trained with image labels as training names too, in s and H;
            the paper uses only those of the segments.
        ema: use the moving average of the weights if the checkpoint has one.
        key: configuration key that holds the path, for messages.

    Raises:
        CheckpointError: the file does not exist, is not an OPSNet checkpoint, is damaged, has a configuration that is
            not allowed (:mod:`opsnet.checkpoint.stored_config`), was trained with another CLIP, or without image labels
            although their names are requested.
        ClipWeightsError: CLIP's weights are missing.
    """
    checkpoint, name = read_checkpoint(path, key=key), f"checkpoint {path}"
    weights = inference_weights(checkpoint, name, ema=ema)
    trained = load_trained(
        checkpoint, network_weights(weights), name, clip_weights=clip_weights, device=device,
        treat_label_names_as_seen=treat_label_names_as_seen,
    )  # fmt: skip
    return with_learned(trained, recognizer_weights(weights), name)


def with_learned(trained: TrainedModel, weights: Mapping[str, Tensor], name: str) -> TrainedModel:
    """A trained network with the learned weights of its recognizer, whose new values are also in ``inference``.

    Args:
        trained: see :func:`load_trained`.
        weights: weights of the recognizer, by their names in it; empty if it has no parameters.
        name: name of the checkpoint or folder, for messages.

    Raises:
        CheckpointError: the weights belong to another recognizer.
    """
    load_recognizer(trained.recognizer, weights, name)
    if not weights:
        return trained
    learned = dataclasses.replace(trained.inference, recognizer=recognizer_config(trained.recognizer))
    return dataclasses.replace(trained, inference=learned)


def load_trained(
    checkpoint: Mapping[str, Any], weights: Mapping[str, Tensor], name: str, *, clip_weights: str | Path | None = None,
    device: str = "auto", treat_label_names_as_seen: bool = False,
) -> TrainedModel:  # fmt: skip
    """The network described by ``checkpoint["opsnet"]``, with its trained weights, on a device.

    Its recognizer does not have learned weights yet, see :func:`with_learned`.

    Args:
        checkpoint: see :func:`opsnet.checkpoint.content.add_content`.
        weights: weights by their names in :class:`OPSNet`, without CLIP's.
        name: name of the checkpoint or folder, for messages.
        clip_weights, device, treat_label_names_as_seen: see :func:`load_checkpoint`.

    Raises:
        CheckpointError, ClipWeightsError: see :func:`load_checkpoint`.
    """
    config = check_config(checkpoint["opsnet"].get("config"), name)
    inference = read_inference(config, name)
    recognizer = build_recognizer(inference.recognizer, name)
    vocabulary = _vocabulary(config, name, treat_label_names_as_seen)
    model = build_model(config, name, clip_weights=clip_weights, budget=Budget.of(weights))
    check_clip_hash(checkpoint, model.clip.weights_hash, name, key="clip_weights")
    load_weights(model, weights, name, "it is damaged, or its configuration was changed")
    device = pick_device(device)
    return TrainedModel(
        model.eval().to(device), vocabulary, inference, config.get("experiment"), config, recognizer.eval().to(device)
    )


def read_inference(config: Mapping[str, Any], name: str) -> InferenceConfig:
    """The inference settings of a validated configuration.

    Raises:
        CheckpointError: they are not in any format that checkpoints have had.
    """
    try:
        return checked(InferenceConfig.of(config))
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{name}: the `inference` of its configuration cannot be used ({error})") from error


def checked(inference: InferenceConfig) -> InferenceConfig:
    """Validates the values, except the recognizer's, and returns the same object.

    Raises:
        TypeError, ValueError: a value is invalid.
    """
    assert inference.mask_filtering.threshold + inference.overlap + inference.tuning_images is not None  # numbers
    if not 0 <= inference.overlap <= 1:
        raise ValueError(f"an overlap of {inference.overlap}")
    for side in (inference.shortest, inference.longest):
        if side is not None and (type(side) is not int or not 1 <= side <= LONGEST_EDGE):
            raise ValueError(f"an edge of {side!r} pixels")
    return inference


def _vocabulary(config: Mapping[str, Any], name: str, treat_label_names_as_seen: bool) -> Vocabulary:
    """The training names, with those of image labels if requested."""
    if treat_label_names_as_seen and "label_vocabulary" not in config:
        raise CheckpointError(f"{name} was trained without image labels: give treat_label_names_as_seen=false")
    try:
        vocabulary = Vocabulary.from_categories(**config["vocabulary"])
        if treat_label_names_as_seen:
            vocabulary = vocabulary.union(Vocabulary.from_categories(**config["label_vocabulary"]))
        return vocabulary
    except InputError as error:
        raise CheckpointError(f"{name}: its vocabulary cannot be used ({error})") from error
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise CheckpointError(f"{name}: its vocabulary is not a list of categories ({error!r})") from error
