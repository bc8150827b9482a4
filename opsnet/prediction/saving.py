"""A predictor as a folder that can be moved, put on the Hub and read without a network.

``config.json`` says how to build it and holds a SHA-256 of every file of weights; ``model.safetensors`` holds what was
trained, ``clip.safetensors`` the frozen CLIP, unless open_clip has its weights by name.
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from opsnet.clip.loading import check_clip_hash
from opsnet.errors import CheckpointError
from opsnet.files import atomic_path, write_json
from opsnet.inference import TrainedModel, build_model, with_weights

CONFIG, MODEL, CLIP = "config.json", "model.safetensors", "clip.safetensors"
_OURS = ("opsnet.model.", "opsnet.segmenter.", "opsnet.clip.", "open_clip.")
"""What a configuration may name: the Hub's are strangers', and Hydra would call whatever stands in them."""


@dataclass(frozen=True)
class Saved:
    """What a folder holds: the network, and how its predictor was set."""

    trained: TrainedModel
    settings: Mapping[str, Any]


def save(trained: TrainedModel, folder: Path, *, settings: Mapping[str, Any], include_clip: bool | None = None) -> None:
    """Writes a folder; the configuration comes last, so that a folder with one is whole.

    Args:
        trained: from a checkpoint.
        folder: made when needed.
        settings: how the predictor is set, as json.
        include_clip: whether CLIP's weights go in; by default unless open_clip has them by name (OpenAI's RN50).

    Raises:
        CheckpointError: nothing was trained, so there is nothing to save.
    """
    if trained.config is None:
        raise CheckpointError(
            "a Mask2Former from model.weights has nothing of OPSNet's to save: save a predictor of a trained checkpoint"
        )
    config = json.loads(json.dumps(dict(trained.config)))
    if include_clip is None:
        include_clip = config["clip"]["model"]["weights"] != "builtin"
    if include_clip:
        config["clip"]["model"]["weights"] = CLIP
    config["clip"]["templates"] = list(trained.model.clip.text_encoder.templates)  # they may stand in a file
    state = trained.model.state_dict()
    weights = {MODEL: {k: v for k, v in state.items() if not k.startswith("clip.")}}
    if include_clip:
        weights[CLIP] = dict(trained.model.clip.text_encoder.clip.state_dict())
    else:
        (folder / CLIP).unlink(missing_ok=True)
    sums = {name: _write_weights(folder / name, tensors) for name, tensors in weights.items()}
    content = {"config": config, "clip_hash": trained.model.clip.weights_hash, "sha256": sums, "settings": settings}
    write_json(folder / CONFIG, {"opsnet": content})


def _write_weights(path: Path, tensors: Mapping[str, Tensor]) -> str:
    from safetensors.torch import save_file

    with atomic_path(path) as temporary:
        save_file({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, temporary)
        temporary.chmod(0o644)  # safetensors' own lets nobody else read it
        return checksum(temporary)


def checksum(path: Path) -> str:
    """SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(1 << 20):
            digest.update(part)
    return digest.hexdigest()


def read(
    folder: Path, *, device: str, clip_weights: str | Path | None = None, label_names_known: bool = False
) -> Saved:
    """Reads a folder of :func:`save`; no network is needed if CLIP's weights are in it or on the disk.

    Args:
        folder: of one.
        device: "auto" takes CUDA where there is one.
        clip_weights: of a CLIP that is not in the folder.
        label_names_known: see :func:`opsnet.inference.load_checkpoint`.

    Raises:
        CheckpointError: a file is missing or changed, or the CLIP is another.
        ClipWeightsError: CLIP's weights are not where they should be.
    """
    from safetensors.torch import load_file

    content = _config(folder)
    for name, expected in content["sha256"].items():
        path = folder / name
        if not path.is_file():
            raise CheckpointError(f"{path} does not exist: copy the whole folder, or fetch it again")
        if checksum(path) != expected:
            raise CheckpointError(f"{path} was changed or damaged (its SHA-256 is not {CONFIG}'s): fetch it again")
    config, inside = content["config"], CLIP in content["sha256"]
    model = build_model(_for_here(config, clip_weights=folder / CLIP if inside else clip_weights))
    check_clip_hash({"opsnet": content}, model.clip.weights_hash, str(folder), key="clip_weights")
    weights = load_file(folder / MODEL)
    trained = with_weights(model, weights, config, name=str(folder), device=device, label_names_known=label_names_known)
    return Saved(trained, content["settings"])


def _config(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG
    if not path.is_file():
        raise CheckpointError(f"{folder} holds no {CONFIG}: give a folder of save_pretrained, or a .ckpt file")
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["opsnet"]
        known = {"config", "clip_hash", "sha256", "settings"} <= content.keys() and MODEL in content["sha256"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path} is not of save_pretrained ({error!r}): fetch the folder again") from error
    if not known or not content["sha256"].keys() <= {MODEL, CLIP}:
        raise CheckpointError(f"{path} is not of save_pretrained: fetch the folder again")
    for target in _targets(content["config"]):
        if not target.startswith(_OURS):
            raise CheckpointError(f"{path} wants to call {target}, which is no part of OPSNet: do not use this folder")
    return content


def _targets(value: Any) -> list[str]:
    """Everything that Hydra would call."""
    if isinstance(value, Mapping):
        own = [str(value["_target_"])] if "_target_" in value else []
        return own + [t for item in value.values() for t in _targets(item)]
    return [t for item in value for t in _targets(item)] if isinstance(value, list) else []


def _for_here(config: Mapping[str, Any], *, clip_weights: str | Path | None) -> dict[str, Any]:
    """The configuration with the places of this machine."""
    here = copy.deepcopy(dict(config))
    clip = here["clip"]
    if clip_weights is not None:
        clip["model"]["weights"] = str(clip_weights)
        if "pretrained" in clip["model"]["architecture"]:
            clip["model"]["architecture"]["pretrained"] = None  # it would be fetched, to be written over
    if clip.get("text_cache") is not None:
        clip["text_cache"] = str(Path(os.environ.get("OPSNET_CACHE", "~/.cache/opsnet")) / "text_banks")
    return here


def is_hub_id(text: str) -> bool:
    """Whether it may be "owner/name" of the Hub: no checkpoint's name, and no path that leads anywhere else."""
    return re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", text) is not None and not text.endswith((".ckpt", ".pt", ".pth"))


def fetch(folder_or_hub_id: str | Path, **how: Any) -> Path:
    """The folder itself, or the Hub's copied to this machine's cache and found there again offline.

    Args:
        folder_or_hub_id: a folder, or "owner/name".
        how: as of huggingface_hub's ``snapshot_download``.

    Raises:
        CheckpointError: neither is there.
    """
    path = Path(folder_or_hub_id).expanduser()
    if path.is_dir():
        return path
    if not is_hub_id(str(folder_or_hub_id)):
        raise CheckpointError(f"{path} is no folder: give one of save_pretrained, or owner/name of one on the Hub")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(str(folder_or_hub_id), allow_patterns=[CONFIG, MODEL, CLIP], **how))
    except Exception as error:  # refused, not found, offline: a dozen classes of two libraries
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(
            f"{folder_or_hub_id} is no folder here and could not be fetched from the Hub ({type(error).__name__}: "
            f"{reason}): check the name, the network and your access"
        ) from error
