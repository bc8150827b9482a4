"""Saves a predictor as a folder that can be moved, uploaded to the Hub and read offline.

``config.json`` holds the configuration of a checkpoint, the predictor's settings, and a SHA-256 of every weights file;
``model.safetensors`` holds the trained weights, ``clip.safetensors`` the frozen CLIP unless open_clip provides its
weights by name.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from opsnet.checkpoint.allowed_targets import IN_FOLDER as CLIP
from opsnet.checkpoint.loading import checked, load_trained, with_learned
from opsnet.checkpoint.reading import RECOGNIZER, check_finite, recognizer_weights
from opsnet.checkpoint.stored_config import check_inference
from opsnet.checkpoint.stored_network import build_recognizer
from opsnet.inference.config import InferenceConfig, recognizer_of
from opsnet.inference.trained_model import TrainedModel
from opsnet.recognition.recognizer import Recognizer
from opsnet.utils.errors import CheckpointError
from opsnet.utils.files import atomic_path, checksum, write_json

log = logging.getLogger(__name__)
CONFIG, MODEL = "config.json", "model.safetensors"
SAFETENSORS = ("model*.safetensors", "model.safetensors.index.json", CLIP)
"""Files of weights that are downloaded from the Hub: ours or those of transformers, also in several shards."""
TORCH = "pytorch_model.bin"
"""What is downloaded if there are none of :data:`SAFETENSORS`."""
SETTINGS = ("recognizer", "filtering", "overlap", "shortest", "longest", "semantic")
"""Fields of :class:`InferenceConfig` in which a predictor may differ from its checkpoint."""


def save(
    trained: TrainedModel, folder: Path, *, settings: InferenceConfig, recognizer: Recognizer,
    include_clip: bool | None = None,
) -> None:  # fmt: skip
    """Writes a folder; the configuration is written last, so that a folder that has one is complete.

    Args:
        trained: a trained network.
        folder: created if it does not exist.
        settings: the predictor's inference settings.
        recognizer: the predictor's recognizer, whose learned weights are saved.
        include_clip: include CLIP's weights; default: unless open_clip provides them by name (OpenAI's RN50).

    Raises:
        CheckpointError: the model was not trained, so there is nothing to save.
    """
    if trained.config is None:
        raise CheckpointError(
            "a Mask2Former from model.weights has no trained OPSNet weights: save a predictor of a trained checkpoint"
        )
    config = json.loads(json.dumps(dict(trained.config)))
    if include_clip is None:
        include_clip = config["clip"]["model"]["weights"] != "builtin"
    if include_clip:
        config["clip"]["model"]["weights"] = CLIP
    state = trained.model.state_dict()
    learned = {f"{RECOGNIZER}{k}": v for k, v in recognizer.state_dict().items()}
    weights = {MODEL: {k: v for k, v in state.items() if not k.startswith("clip.")} | learned}
    if include_clip:
        weights[CLIP] = dict(trained.model.clip.text_encoder.clip.state_dict())
    else:
        (folder / CLIP).unlink(missing_ok=True)
    sums = {name: _write_weights(folder / name, tensors) for name, tensors in weights.items()}
    build_recognizer(settings.recognizer, "this predictor")  # otherwise it could not be loaded
    chosen = {key: getattr(settings, key) for key in SETTINGS}
    content = {"config": config, "clip_hash": trained.model.clip.weights_hash, "sha256": sums, "settings": chosen}
    write_json(folder / CONFIG, {"opsnet": content})


def _write_weights(path: Path, tensors: Mapping[str, Tensor]) -> str:
    from safetensors.torch import save_file

    with atomic_path(path) as temporary:
        save_file({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, temporary)
        temporary.chmod(0o644)  # safetensors' default is readable only by the owner
        return checksum(temporary)


def read(
    folder: Path, *, device: str, clip_weights: str | Path | None = None, treat_label_names_as_seen: bool = False
) -> TrainedModel:
    """Reads a folder written by :func:`save`, without network access if CLIP's weights are in it or cached.

    Args:
        folder: the folder.
        device: "auto" uses CUDA if available.
        clip_weights: path of CLIP's weights if they are not in the folder; else ignored with a warning.
        treat_label_names_as_seen: see :func:`opsnet.checkpoint.loading.load_checkpoint`.

    Returns:
        The network, with the settings of the saved predictor.

    Raises:
        CheckpointError: a file is missing, modified or not a weights file, the configuration is not allowed, or the
            CLIP is a different one.
        ClipWeightsError: CLIP's weights are missing.
    """
    content = _config(folder)
    for name, expected in content["sha256"].items():
        path = folder / name
        if not path.is_file():
            raise CheckpointError(f"{path} does not exist: copy the whole folder, or download it again")
        if checksum(path) != expected:
            raise CheckpointError(f"{path} was modified or damaged (its SHA-256 is not {CONFIG}'s): download it again")
    weights = _read_weights(folder / MODEL)
    if CLIP in content["sha256"]:
        if clip_weights is not None:
            log.warning("%s has its own CLIP, %s: clip_weights=%s is not used", folder, CLIP, clip_weights)
        clip_weights = folder / CLIP
    learned = recognizer_weights(weights)
    network = {k: v for k, v in weights.items() if not k.startswith(RECOGNIZER)}
    trained = load_trained(
        {"opsnet": content}, network, str(folder), clip_weights=clip_weights, device=device,
        treat_label_names_as_seen=treat_label_names_as_seen,
    )  # fmt: skip
    inference = _settings(content["settings"], trained.inference, str(folder / CONFIG))
    recognizer = build_recognizer(inference.recognizer, str(folder / CONFIG))
    own = recognizer.eval().to(trained.model.no_object_embed.device)
    return with_learned(dataclasses.replace(trained, inference=inference, recognizer=own), learned, str(folder))


def _read_weights(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        weights = load_file(path)
    except SafetensorError as error:
        raise CheckpointError(f"{path} is not a weights file ({error}): download the folder again") from error
    check_finite(weights, str(path))
    return weights


def _settings(stored: Mapping[str, Any], trained: InferenceConfig, name: str) -> InferenceConfig:
    """The predictor's settings; in older folders its recognizer is stored as ``modulation``, a name."""
    given = check_inference({k: v for k, v in stored.items() if k != "modulation"}, f"{name}, settings")
    try:
        if "modulation" in stored:
            given["recognizer"] = recognizer_of(str(stored["modulation"]))
        if unknown := given.keys() - set(SETTINGS):
            raise ValueError(f"{min(unknown)} is none of {', '.join(SETTINGS)}")
        return checked(dataclasses.replace(trained, **given))
    except KeyError as error:
        raise CheckpointError(f"{name}: settings.modulation = {error} is not an option of conf/modulation") from error
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{name}: its settings cannot be used ({error})") from error


def _config(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG
    if not path.is_file():
        raise CheckpointError(f"{folder} has no {CONFIG}: give a folder of save_pretrained, or a .ckpt file")
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["opsnet"]
        known = {"config", "clip_hash", "sha256", "settings"} <= content.keys() and MODEL in content["sha256"]
        known = known and isinstance(content["settings"], Mapping)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(
            f"{path} was not written by save_pretrained ({error!r}): download the folder again"
        ) from error
    if not known or not content["sha256"].keys() <= {MODEL, CLIP}:
        raise CheckpointError(f"{path} was not written by save_pretrained: download the folder again")
    return content


FILE_SUFFIXES = (".ckpt", ".pt", ".pth", ".pkl", ".bin", ".safetensors")


def is_hub_id(text: str) -> bool:
    """Whether the text may be a Hub id "owner/name", and not a checkpoint's file name or another path."""
    return re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", text) is not None and not text.endswith(FILE_SUFFIXES)


def fetch(folder_or_hub_id: str | Path, **how: Any) -> Path:
    """The folder itself, or a snapshot downloaded from the Hub, which is cached for offline use.

    Of a snapshot only the configuration and the weights are downloaded: PyTorch's only if there are no safetensors.

    Args:
        folder_or_hub_id: a folder, or a Hub id "owner/name".
        how: arguments of huggingface_hub's ``snapshot_download``.

    Raises:
        CheckpointError: neither exists.
    """
    path = Path(folder_or_hub_id).expanduser()
    if os.path.isdir(path):  # pathlib raises for text that no folder can be named
        return path
    if not is_hub_id(str(folder_or_hub_id)):
        raise CheckpointError(f"{path} is not a folder: give one of save_pretrained, or owner/name of one on the Hub")
    from huggingface_hub import snapshot_download

    try:
        for patterns in ([CONFIG, *SAFETENSORS], [CONFIG, TORCH]):
            folder = Path(snapshot_download(str(folder_or_hub_id), allow_patterns=patterns, **how))
            if any(folder.glob("model*.safetensors")):
                break
        return folder
    except Exception as error:  # refused, not found, offline: any of a dozen classes of two libraries
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(
            f"{folder_or_hub_id} is not a folder and could not be downloaded from the Hub ({type(error).__name__}: "
            f"{reason}): check the name, the network and your access, or download {CONFIG} and {MODEL} (or {TORCH}) "
            f"from https://huggingface.co/{folder_or_hub_id} into a folder elsewhere and give that folder"
        ) from error
