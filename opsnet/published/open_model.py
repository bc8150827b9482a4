"""Opens whatever holds a network: a checkpoint, a folder of ``save_pretrained``, published weights, or a Hub id."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from opsnet.checkpoint.folder import CONFIG, fetch, is_hub_id, read
from opsnet.checkpoint.loading import load_checkpoint
from opsnet.inference.trained_model import TrainedModel
from opsnet.published.loading import load_published_model


def open_model(
    path_or_hub_id: str | Path, *, clip: str | Path | None = None, clip_weights: str | Path | None = None,
    device: str = "auto", treat_label_names_as_seen: bool = False, key: str = "",
) -> TrainedModel:  # fmt: skip
    """A network ready for inference.

    Args:
        path_or_hub_id: a checkpoint of ``opsnet-train``; a folder of ``save_pretrained``; published weights
            (:func:`opsnet.published.loading.load_published_model`); or "owner/name" of either on the Hub.
        clip: the CLIP of published weights, if it is another than their usual one.
        clip_weights: path of CLIP's weights; default: the path used in training, or the file's own.
        device: "auto" uses CUDA if available.
        treat_label_names_as_seen: see :func:`opsnet.checkpoint.loading.load_checkpoint`.
        key: configuration key that holds the path, for messages.

    Raises:
        CheckpointError, WeightsError: it does not exist, is not a network, is damaged, or has another CLIP.
        ClipWeightsError: CLIP's weights are missing.
    """
    path = Path(path_or_hub_id).expanduser()
    own = {"clip_weights": clip_weights, "device": device, "treat_label_names_as_seen": treat_label_names_as_seen}
    if path.is_dir() or (is_hub_id(str(path_or_hub_id)) and not path.is_file()):
        folder = fetch(path_or_hub_id)
        if _is_saved(folder):
            return read(folder, **own)  # type: ignore[arg-type]
        return load_published_model(folder, clip=clip, clip_weights=clip_weights, device=device)
    if path.suffix == ".ckpt" or not path.is_file() or is_checkpoint(path):
        return load_checkpoint(path, key=key, **own)  # type: ignore[arg-type]
    return load_published_model(path, clip=clip, clip_weights=clip_weights, device=device)


def _is_saved(folder: Path) -> bool:
    """Whether a folder is one of ``save_pretrained``, complete or not; transformers' have a ``model_type``."""
    try:
        content = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return not any(folder.glob("*.safetensors*")) or (folder / "clip.safetensors").exists()
    return not isinstance(content, dict) or "model_type" not in content


def is_checkpoint(path: Path) -> bool:
    """Whether a file is a checkpoint of this project, by its keys."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception:  # not a file of PyTorch's current format: the reader of weights says what is wrong
        return False
    return isinstance(content, dict) and "opsnet" in content
