"""Reads a checkpoint without building anything, and refuses one that no command can use."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from opsnet.checkpoint.content import renamed_weights, trained_weights
from opsnet.model import OPSNet
from opsnet.recognition.recognizer import Recognizer
from opsnet.utils.errors import CheckpointError

log = logging.getLogger(__name__)
RECOGNIZER = "recognizer."
"""Prefix of the weights of a recognizer that learns, in a checkpoint and in a saved folder."""


def read_checkpoint(path: str | Path, *, key: str = "") -> dict[str, Any]:
    """The content of a file, which nothing has been built from.

    Args:
        path: written by ``opsnet-train``.
        key: of the configuration that names it, for messages.

    Raises:
        CheckpointError: no such file, not a checkpoint of OPSNet, or weights that are no finite numbers.
    """
    path, asked = Path(path).expanduser(), f" ({key})" if key else ""
    if not path.is_file():
        raise CheckpointError(
            f"checkpoint {path}{asked} does not exist: give {key or 'checkpoint'}=PATH of a .ckpt written by "
            "opsnet-train"
        )
    try:
        checkpoint = dict(torch.load(path, map_location="cpu", weights_only=True))
        held = checkpoint["opsnet"], checkpoint["state_dict"]
    except Exception as error:  # pickle, zip, type and key errors of a foreign or broken file
        raise CheckpointError(
            f"{path}{asked} is not an OPSNet checkpoint ({type(error).__name__}): give one written by opsnet-train"
        ) from error
    if not all(isinstance(part, Mapping) for part in held):
        raise CheckpointError(f"{path}{asked} is not an OPSNet checkpoint: give one written by opsnet-train")
    check_finite(checkpoint["state_dict"], f"checkpoint {path}{asked}")
    return checkpoint


def check_finite(weights: Mapping[str, Any], name: str) -> None:
    """Refuses weights with which a network says nothing.

    Raises:
        CheckpointError: one is no tensor, or holds NaN or infinity.
    """
    for key, value in weights.items():
        if not isinstance(value, Tensor):
            raise CheckpointError(f"{name}: {key} is a {type(value).__name__}, not a weight: give another checkpoint")
        if value.is_floating_point() and not bool(value.isfinite().all()):
            raise CheckpointError(
                f"{name}: {key} holds NaN or infinity, so the training had diverged: give an earlier checkpoint, or "
                "train again with a lower optim.optimizer.lr"
            )


def check_clip_hash(
    checkpoint: Mapping[str, Any], clip_hash: str, name: str, *, key: str = "clip.model.weights"
) -> None:
    """Refuses a checkpoint that was trained with another CLIP.

    Checkpoints of earlier versions hold the hash of the weights alone. They are accepted where it fits, with a warning:
    nothing in them says with which activation CLIP ran.

    Args:
        checkpoint: see :func:`opsnet.checkpoint.content.add_content`.
        clip_hash: of the loaded CLIP, see :func:`opsnet.clip.loading.clip_hash`.
        name: of the checkpoint, for the message.
        key: by which the command at hand is given another CLIP.

    Raises:
        CheckpointError: with both hashes.
    """
    trained_with = checkpoint.get("opsnet", {}).get("clip_hash")
    if trained_with == clip_hash:
        return
    weights = clip_hash.partition("-")[0]
    if trained_with == weights:
        log.warning(
            "%s holds the hash of CLIP's weights only, which fits; its architecture (OpenAI's RN50 with GELU or "
            "QuickGELU) could not be compared",
            name,
        )
        return
    if str(trained_with).partition("-")[0] == weights:
        raise CheckpointError(
            f"{name} was trained with the same CLIP weights in another architecture ({trained_with}, loaded: "
            f"{clip_hash}): give the clip.model.architecture that it was trained with (open_clip's RN50 has GELU, "
            "RN50-quickgelu QuickGELU), or train anew"
        )
    raise CheckpointError(
        f"{name} was trained with CLIP weights {trained_with}, but the loaded CLIP is {clip_hash}: give "
        f"{key}=PATH of the CLIP that it was trained with, or train anew"
    )


def network_weights(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Of the weights of a checkpoint those of the network, by their names in :class:`OPSNet`."""
    return {k.removeprefix("model."): v for k, v in trained_weights(state).items() if k.startswith("model.")}


def recognizer_weights(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Of the weights of a checkpoint those of its recognizer, which has some if it learns."""
    return {k.removeprefix(RECOGNIZER): v for k, v in state.items() if k.startswith(RECOGNIZER)}


def load_recognizer(recognizer: Recognizer, weights: Mapping[str, Tensor], name: str) -> None:
    """Fills a recognizer, all of it or nothing.

    Args:
        recognizer: as the configuration builds it.
        weights: by their names in it.
        name: of what they come from, for the message.

    Raises:
        CheckpointError: they are of another recognizer.
    """
    own = recognizer.state_dict()
    wrong = sorted(own.keys() ^ weights.keys())
    wrong += sorted(k for k in own.keys() & weights.keys() if own[k].shape != weights[k].shape)
    if wrong:
        raise CheckpointError(
            f"{name}: its weights are of another recognizer than its configuration names ({RECOGNIZER}{wrong[0]}): it "
            "is damaged, or its configuration was changed"
        )
    recognizer.load_state_dict(weights)


def load_weights(model: OPSNet, weights: Mapping[str, Tensor], name: str, fix: str) -> None:
    """Fills a network but for CLIP, all of it or nothing.

    Args:
        model: the network.
        weights: by their names in it.
        name: of what they come from, for the message.
        fix: what the message advises.

    Raises:
        CheckpointError: they are of another network.
    """
    own, weights = model.state_dict(), renamed_weights(weights)
    clip = {k: v for k, v in own.items() if k.startswith("clip.")}
    counters = {k for k in weights if k.endswith("num_batches_tracked")}  # which norms that are frozen now do without
    wrong = sorted((own.keys() ^ weights.keys()) - clip.keys() - counters)
    wrong += sorted(k for k in own.keys() & weights.keys() if own[k].shape != weights[k].shape)
    if wrong:
        raise CheckpointError(
            f"{name} is of another network ({len(wrong)} weights differ, the first is {wrong[0]}): {fix}"
        )
    model.load_state_dict({**{k: v for k, v in weights.items() if k in own}, **clip})
