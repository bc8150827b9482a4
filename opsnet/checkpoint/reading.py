"""Reads a checkpoint without building anything, and refuses unusable ones."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from opsnet.checkpoint.content import AVERAGE, renamed_weights, trained_weights
from opsnet.model import OPSNet
from opsnet.recognition.recognizer import Recognizer
from opsnet.utils.errors import CheckpointError
from opsnet.utils.torch_files import load_tensors, not_stored

log = logging.getLogger(__name__)
AGAIN = "copy or download it again"
_HASH = re.compile(r"[\w-]{1,64}")
RECOGNIZER = "recognizer."
"""Prefix of the weights of a learned recognizer, in a checkpoint and in a saved folder."""


def read_checkpoint(path: str | Path, *, key: str = "") -> dict[str, Any]:
    """Reads the content of a checkpoint without building anything from it.

    Args:
        path: a checkpoint written by ``opsnet-train``.
        key: configuration key that holds the path, for messages.

    Raises:
        CheckpointError: the file does not exist, is not an OPSNet checkpoint, or has non-finite weights.
    """
    path, asked = Path(path).expanduser(), f" ({key})" if key else ""
    if not path.is_file():
        raise CheckpointError(
            f"checkpoint {path}{asked} does not exist: give {key or 'checkpoint'}=PATH of a .ckpt written by "
            "opsnet-train"
        )
    try:
        checkpoint = dict(load_tensors(path))
        held = checkpoint["opsnet"], checkpoint["state_dict"]
    except Exception as error:  # pickle, zip, type and key errors of other or damaged files
        raise CheckpointError(
            f"{path}{asked} is not an OPSNet checkpoint ({type(error).__name__}): give one written by opsnet-train"
        ) from error
    if not all(isinstance(part, Mapping) and all(isinstance(key, str) for key in part) for part in held):
        raise CheckpointError(f"{path}{asked} is not an OPSNet checkpoint: give one written by opsnet-train")
    if odd := not_stored(checkpoint["state_dict"], path):
        raise CheckpointError(f"checkpoint {path}{asked}: not all values of {odd} are in the file: {AGAIN}")
    check_finite(checkpoint["state_dict"], f"checkpoint {path}{asked}")
    return checkpoint


def inference_weights(checkpoint: Mapping[str, Any], name: str, *, ema: bool = True) -> Mapping[str, Tensor]:
    """The weights with which a checkpoint's network is used: the moving average where there is one.

    Args:
        checkpoint: see :func:`read_checkpoint`.
        name: name of the checkpoint, for messages.
        ema: ``False``: the weights of the last step, without averaging.

    Raises:
        CheckpointError: the average is damaged, or is of another network.
    """
    weights: Mapping[str, Tensor] = checkpoint["state_dict"]
    if not ema or AVERAGE not in checkpoint:
        return weights
    average = checkpoint[AVERAGE].get("weights") if isinstance(checkpoint[AVERAGE], Mapping) else None
    if not isinstance(average, Mapping) or not average.keys() <= weights.keys():
        raise CheckpointError(f"{name}: its moving average is damaged: use the weights without it, with ema=false")
    check_finite(average, f"{name} ({AVERAGE})")
    return {**weights, **average}


DIVERGED = "the training has diverged: give an earlier checkpoint, or train again with a lower optim.optimizer.lr"


def check_finite(weights: Mapping[str, Any], name: str, reason: str = DIVERGED) -> None:
    """Refuses non-finite weights.

    Args:
        weights: the weights.
        name: name of the checkpoint or file, for the message.
        reason: why a weight is not finite, and the fix, for the message.

    Raises:
        CheckpointError: a weight is not a tensor, or contains NaN or infinity.
    """
    for key, value in weights.items():
        if not isinstance(value, Tensor):
            raise CheckpointError(f"{name}: {key} is a {type(value).__name__}, not a weight: give another checkpoint")
        if value.is_floating_point() and not bool(value.isfinite().all()):
            raise CheckpointError(f"{name}: {key} contains NaN or infinity, so {reason}")


def check_clip_hash(
    checkpoint: Mapping[str, Any], clip_hash: str, name: str, *, key: str = "clip.model.weights"
) -> None:
    """Refuses a checkpoint that was trained with another CLIP.

    Checkpoints of earlier versions store only the hash of the weights. If it matches they are accepted with a warning,
    because they do not state CLIP's activation.

    Args:
        checkpoint: see :func:`opsnet.checkpoint.content.add_content`.
        clip_hash: hash of the loaded CLIP, see :func:`opsnet.clip.loading.clip_hash`.
        name: name of the checkpoint, for the message.
        key: the command's configuration key for CLIP's weights.

    Raises:
        CheckpointError: the hashes differ; the message states both.
    """
    about = checkpoint.get("opsnet")
    trained_with = about.get("clip_hash") if isinstance(about, Mapping) else None
    if trained_with is not None and not (isinstance(trained_with, str) and _HASH.fullmatch(trained_with)):
        raise CheckpointError(f"{name}: what it has as the hash of its CLIP is none: {AGAIN}")
    if trained_with == clip_hash:
        return
    weights = clip_hash.partition("-")[0]
    if trained_with == weights:
        log.warning(
            "%s has only the hash of CLIP's weights, which matches; its architecture (OpenAI's RN50 with GELU or "
            "QuickGELU) could not be compared",
            name,
        )
        return
    if str(trained_with).partition("-")[0] == weights:
        raise CheckpointError(
            f"{name} was trained with the same CLIP weights in another architecture ({trained_with}, loaded: "
            f"{clip_hash}): give the clip.model.architecture of the training (open_clip's RN50 has GELU, "
            "RN50-quickgelu QuickGELU), or train again"
        )
    raise CheckpointError(
        f"{name} was trained with CLIP weights {trained_with}, but the loaded CLIP is {clip_hash}: give "
        f"{key}=PATH of the CLIP of the training, or train again"
    )


def network_weights(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The network's weights in a checkpoint, by their names in :class:`OPSNet`."""
    return {k.removeprefix("model."): v for k, v in trained_weights(state).items() if k.startswith("model.")}


def recognizer_weights(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The recognizer's weights in a checkpoint, by their names in the recognizer; empty if it has no parameters."""
    return {k.removeprefix(RECOGNIZER): v for k, v in state.items() if k.startswith(RECOGNIZER)}


def load_recognizer(recognizer: Recognizer, weights: Mapping[str, Tensor], name: str) -> None:
    """Loads all weights of a recognizer, or none.

    Args:
        recognizer: a recognizer built from the configuration.
        weights: weights by their names in the recognizer.
        name: name of the checkpoint or folder, for the message.

    Raises:
        CheckpointError: the weights belong to another recognizer.
    """
    own = recognizer.state_dict()
    wrong = sorted(own.keys() ^ weights.keys())
    wrong += sorted(k for k in own.keys() & weights.keys() if own[k].shape != weights[k].shape)
    if wrong:
        raise CheckpointError(
            f"{name}: its weights belong to another recognizer than its configuration ({RECOGNIZER}{wrong[0]}): "
            "it is damaged, or its configuration was changed"
        )
    recognizer.load_state_dict(weights)


def load_weights(model: OPSNet, weights: Mapping[str, Tensor], name: str, fix: str) -> None:
    """Loads all weights of a network except CLIP's, or none.

    Args:
        model: the network.
        weights: weights by their names in the network.
        name: name of the checkpoint or folder, for the message.
        fix: the fix to state in the message.

    Raises:
        CheckpointError: the weights belong to another network.
    """
    own, weights = model.state_dict(), renamed_weights(weights)
    clip = {k: v for k, v in own.items() if k.startswith("clip.")}
    counters = {k for k in weights if k.endswith("num_batches_tracked")}  # frozen norms do not have them
    wrong = sorted((own.keys() ^ weights.keys()) - clip.keys() - counters)
    wrong += sorted(k for k in own.keys() & weights.keys() if own[k].shape != weights[k].shape)
    if wrong:
        raise CheckpointError(
            f"{name} is of another network ({len(wrong)} weights differ, the first is {wrong[0]}): {fix}"
        )
    model.load_state_dict({**{k: v for k, v in weights.items() if k in own}, **clip})
