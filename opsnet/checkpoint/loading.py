"""Loads a checkpoint to resume, to fine-tune, or for inference.

Resuming and fine-tuning build nothing from the checkpoint's configuration: the network is built from the user's.
Loading for inference does, with :func:`opsnet.checkpoint.stored_network.build_model`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from opsnet.checkpoint.reading import check_clip_hash, load_weights, network_weights, read_checkpoint
from opsnet.checkpoint.stored_config import check_config
from opsnet.checkpoint.stored_network import build_model, build_recognizer
from opsnet.inference.config import InferenceConfig
from opsnet.inference.trained_model import TrainedModel, pick_device
from opsnet.model import OPSNet
from opsnet.utils.errors import CheckpointError, InputError
from opsnet.vocabulary import Vocabulary


def check_resume(path: Path, clip_hash: str, streams: int) -> None:
    """Checks that a run can resume from a checkpoint.

    Args:
        path: path of the checkpoint.
        clip_hash: hash of the loaded CLIP.
        streams: number of training streams, see :class:`opsnet.data.mixed.MixedDataModule`.

    Raises:
        CheckpointError: it is not a checkpoint, or was trained with another CLIP or other data.
    """
    checkpoint = read_checkpoint(path, key="resume")
    check_clip_hash(checkpoint, clip_hash, f"checkpoint {path}")
    loop: Any = checkpoint.get("loops", {}).get("fit_loop", {}).get("state_dict", {})
    before = len(loop.get("combined_loader", ())) or streams
    if before != streams:
        raise CheckpointError(
            f"checkpoint {path} (resume) was trained on {before} streams of images, but data has {streams}: resume "
            "with the data group of the training, or start a new training from its weights with init_from"
        )


def load_initial_weights(model: OPSNet, path: str | Path) -> None:
    """Initializes a network with the weights of a checkpoint, without its optimizer state and progress.

    Raises:
        CheckpointError: the file does not exist, is not a checkpoint, or has another CLIP or network.
    """
    checkpoint, name = read_checkpoint(path, key="init_from"), f"checkpoint {path} (init_from)"
    check_clip_hash(checkpoint, model.clip.weights_hash, name)
    weights = network_weights(checkpoint["state_dict"])
    load_weights(model, weights, name, "give the backbone and model with which it was trained")


def load_checkpoint(
    path: str | Path, *, clip_weights: str | Path | None = None, device: str = "auto", label_names_known: bool = False
) -> TrainedModel:
    """Builds the network that a checkpoint describes and loads its weights.

    Args:
        path: a checkpoint written by ``opsnet-train``.
        clip_weights: path of CLIP's weights; default: the path used in training.
        device: "auto" uses CUDA if available.
        label_names_known: treat names that were trained with image labels as training names too, in s and H; the paper
            uses only those of the segments.

    Raises:
        CheckpointError: the file does not exist, is not an OPSNet checkpoint, is damaged, has a configuration that is
            not allowed (:mod:`opsnet.checkpoint.stored_config`), was trained with another CLIP, or without image labels
            although their names are requested.
        ClipWeightsError: CLIP's weights are missing.
    """
    checkpoint, name = read_checkpoint(path), f"checkpoint {path}"
    return load_trained(
        checkpoint, network_weights(checkpoint["state_dict"]), name, clip_weights=clip_weights, device=device,
        label_names_known=label_names_known,
    )  # fmt: skip


def load_trained(
    checkpoint: Mapping[str, Any], weights: Mapping[str, Tensor], name: str, *, clip_weights: str | Path | None = None,
    device: str = "auto", label_names_known: bool = False,
) -> TrainedModel:  # fmt: skip
    """The network described by ``checkpoint["opsnet"]``, with its trained weights, on a device.

    Args:
        checkpoint: see :func:`opsnet.checkpoint.content.add_content`.
        weights: weights by their names in :class:`OPSNet`, without CLIP's.
        name: name of the checkpoint or folder, for messages.
        clip_weights, device, label_names_known: see :func:`load_checkpoint`.

    Raises:
        CheckpointError, ClipWeightsError: see :func:`load_checkpoint`.
    """
    config = check_config(checkpoint["opsnet"].get("config"), name)
    inference = read_inference(config, name)
    recognizer = build_recognizer(inference.recognizer, name)
    vocabulary = _vocabulary(config, name, label_names_known)
    model = build_model(config, name, clip_weights=clip_weights)
    check_clip_hash(checkpoint, model.clip.weights_hash, name, key="clip_weights")
    load_weights(model, weights, name, "it is damaged, or its configuration was changed")
    model = model.eval().to(pick_device(device))
    return TrainedModel(model, vocabulary, inference, config.get("experiment"), config, recognizer)


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
    for side in (inference.shortest, inference.longest):
        if side is not None and (type(side) is not int or side < 1):
            raise ValueError(f"an edge of {side!r} pixels")
    return inference


def _vocabulary(config: Mapping[str, Any], name: str, label_names_known: bool) -> Vocabulary:
    """The training names, with those of image labels if requested."""
    if label_names_known and "label_vocabulary" not in config:
        raise CheckpointError(f"{name} was trained without image labels: give label_names_known=false")
    try:
        vocabulary = Vocabulary.from_categories(**config["vocabulary"])
        if label_names_known:
            vocabulary = vocabulary.union(Vocabulary.from_categories(**config["label_vocabulary"]))
        return vocabulary
    except InputError as error:
        raise CheckpointError(f"{name}: its vocabulary cannot be used ({error})") from error
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise CheckpointError(f"{name}: its vocabulary is not a list of categories ({error!r})") from error
