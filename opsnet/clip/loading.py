"""A frozen open_clip model from a name or a file, and the hash that tells two sets of weights apart."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from pickle import UnpicklingError
from textwrap import shorten
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from opsnet.errors import CheckpointError, InputError


class ClipWeightsError(InputError):
    """CLIP weights that cannot be found or do not fit; the message names them and the fix."""


def load_clip(*, architecture: Callable[[], nn.Module], weights: str | Path, hint: str = "") -> nn.Module:
    """Builds a CLIP, loads its weights and freezes it.

    Args:
        architecture: builds the open_clip model (with pretrained weights of its own if ``weights`` is "builtin").
        weights: path of an open_clip checkpoint, or of its weights as .safetensors, or "builtin" (``architecture``
            loads them), or "random" (tests).
        hint: how to get the file, for the error message.

    Raises:
        ClipWeightsError: no such file, not a checkpoint, or its keys do not fit the architecture.
    """
    text = str(weights)
    if text not in ("builtin", "random"):
        path = Path(text).expanduser()
        if not path.is_file():
            raise ClipWeightsError(
                f"CLIP weights {path} do not exist: {hint or 'give clip.model.weights=PATH of an open_clip checkpoint'}"
            )
    try:
        model = architecture()
    except Exception as error:  # open_clip reports a failed download in a dozen classes of its dependencies
        raise ClipWeightsError(
            f"could not build the CLIP model ({type(error).__name__}: {_short(error)}); offline, give "
            "clip.model.weights=PATH of a local file and clip.model.architecture.pretrained=null"
        ) from error
    if text not in ("builtin", "random"):
        try:
            model.load_state_dict(_read_weights(path))
        except (RuntimeError, AttributeError, EOFError, UnpicklingError, SafetensorError) as error:
            reason = _short(error)
            raise ClipWeightsError(f"CLIP weights {path} do not fit clip.model.architecture: {reason}") from error
    return model.eval().requires_grad_(False)


def _short(error: Exception) -> str:
    """Its first words: a foreign checkpoint lists hundreds of keys, a failed download the ways that it tried."""
    return shorten(str(error), 300, placeholder="...")


def _read_weights(path: Path) -> dict[str, Tensor]:
    if path.suffix == ".safetensors":
        return load_file(path)
    state = torch.load(path, map_location="cpu", weights_only=True)
    state = state.get("state_dict", state)
    return {k.removeprefix("module."): v for k, v in state.items()}


def weights_hash(model: nn.Module) -> str:
    """Twelve hexadecimal digits that change when any weight changes."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:12]


def check_clip_hash(checkpoint: dict[str, Any], clip_hash: str, name: str, *, key: str = "clip.model.weights") -> None:
    """Refuses a checkpoint that was trained with another CLIP.

    Args:
        checkpoint: written by ``opsnet.module.OPSNetModule``.
        clip_hash: of the loaded CLIP.
        name: of the checkpoint, for the message.
        key: with which the command at hand is given another CLIP.

    Raises:
        CheckpointError: with both hashes.
    """
    trained_with = checkpoint.get("opsnet", {}).get("clip_hash")
    if trained_with != clip_hash:
        raise CheckpointError(
            f"{name} was trained with CLIP weights {trained_with}, but the loaded CLIP is {clip_hash}: give "
            f"{key}=PATH of the CLIP that it was trained with, or train anew"
        )
