"""Opens whatever holds a network: a checkpoint, a folder of ``save_pretrained``, published weights, or a Hub id."""

from __future__ import annotations

import json
import os
from pathlib import Path

from opsnet.checkpoint.allowed_targets import IN_FOLDER
from opsnet.checkpoint.folder import CONFIG, TORCH, fetch, is_hub_id, read
from opsnet.checkpoint.loading import load_checkpoint
from opsnet.inference.trained_model import TrainedModel
from opsnet.published.loading import load_published_model
from opsnet.utils.errors import CheckpointError, InputError
from opsnet.utils.torch_files import load_tensors
from opsnet.vocabulary import Vocabulary


def open_model(
    path_or_hub_id: str | Path, *, clip: str | Path | None = None, clip_weights: str | Path | None = None,
    device: str = "auto", treat_label_names_as_seen: bool = False,
    train_vocabulary: str | Path | Vocabulary | None = None, ema: bool = True, key: str = "",
) -> TrainedModel:  # fmt: skip
    """A network ready for inference.

    Args:
        path_or_hub_id: a checkpoint of ``opsnet-train``; a folder of ``save_pretrained``; published weights
            (:func:`opsnet.published.loading.load_published_model`); or "owner/name" of either on the Hub.
        clip: the CLIP of published weights, if it is another than their usual one.
        clip_weights: path of CLIP's weights; default: the path used in training, or the file's own.
        device: "auto" uses CUDA if available.
        treat_label_names_as_seen: see :func:`opsnet.checkpoint.loading.load_checkpoint`.
        train_vocabulary: the names that published weights were trained with; default: ``coco``.
        ema: use the moving average of the weights if a checkpoint has one.
        key: configuration key that holds the path, for messages.

    Raises:
        InputError: ``clip`` or ``train_vocabulary`` is given for a checkpoint, which has its own.
        CheckpointError, WeightsError: it does not exist, is not a network, is damaged, or has another CLIP.
        ClipWeightsError: CLIP's weights are missing.
    """
    path = Path(path_or_hub_id).expanduser()
    is_file = os.path.isfile(path)  # False for text that no file can be named, where pathlib raises
    if os.path.isdir(path) and (found := weights_inside(path)):
        raise CheckpointError(f"{path} is a folder: did you mean {key or 'checkpoint'}={found[0]}?")
    if os.path.isdir(path) or (is_hub_id(str(path_or_hub_id)) and not is_file):
        path = fetch(path_or_hub_id)
        is_own = is_saved(path)
    elif path.suffix == ".ckpt" or is_file:
        is_own = path.suffix == ".ckpt" or is_checkpoint(path)
    else:
        raise CheckpointError(
            f"{path}{f' ({key})' if key else ''} does not exist: give a .ckpt of opsnet-train, a folder of "
            "save_pretrained, a file of published weights (docs/models.md), or owner/name of a model on the Hub"
        )
    if not is_own:
        return load_published_model(
            path, clip=clip, clip_weights=clip_weights, device=device, train_vocabulary=train_vocabulary
        )
    if clip is not None or train_vocabulary is not None:
        raise InputError(
            f"{path} has its own CLIP and training names: clip (clip_model) and train_vocabulary are for published "
            "weights, leave them out"
        )
    own = {"clip_weights": clip_weights, "device": device, "treat_label_names_as_seen": treat_label_names_as_seen}
    if path.is_dir():
        return read(path, **own)  # type: ignore[arg-type]
    return load_checkpoint(path, key=key, ema=ema, **own)  # type: ignore[arg-type]


def weights_inside(folder: Path) -> list[Path]:
    """The checkpoints and weights in a folder that is not itself a network's; those of a run in ``checkpoints``.

    ``last.ckpt`` comes first, then ``best.ckpt``, then others by name.
    """
    if (folder / CONFIG).exists() or any(folder.glob("*.safetensors*")) or (folder / TORCH).is_file():
        return []
    found = [p for place in (folder, folder / "checkpoints") for s in (".ckpt", ".pth", ".pt", ".pkl")
             for p in place.glob(f"*{s}") if p.is_file()]  # fmt: skip
    return sorted(found, key=lambda p: (p.name != "last.ckpt", p.name != "best.ckpt", p.name))


def is_saved(folder: Path) -> bool:
    """Whether a folder is one of ``save_pretrained``, complete or not; transformers' have a ``model_type``."""
    try:
        content = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        content = None
    if isinstance(content, dict):
        return "model_type" not in content
    has_weights = any(folder.glob("*.safetensors*")) or (folder / TORCH).is_file()
    return not has_weights or (folder / IN_FOLDER).exists()


def is_checkpoint(path: Path) -> bool:
    """Whether a file is a checkpoint of this project, by its keys."""
    try:
        content = load_tensors(path, mmap=True)
    except Exception:  # not a file of PyTorch's current format: the reader of weights says what is wrong
        return False
    return isinstance(content, dict) and "opsnet" in content
