"""The weights that a training starts from (``init_from``): a checkpoint's, or published ones of the same network."""

from __future__ import annotations

from pathlib import Path

from opsnet.checkpoint.loading import load_initial_weights
from opsnet.checkpoint.reading import check_finite
from opsnet.model import OPSNet
from opsnet.published.clips import clip_differences, fitting_clip
from opsnet.published.families import Family, recognise
from opsnet.published.open_model import is_checkpoint, is_saved
from opsnet.recognition.recognizer import Recognizer
from opsnet.segmenter.published.checkpoints import Loaded, load_converted
from opsnet.segmenter.published.layouts import Converted, convert
from opsnet.segmenter.published.weight_files import WeightsError, read_weights
from opsnet.utils.errors import CheckpointError

_CLIP_INSIDE = (
    "give clip=... and clip.model.weights=PATH of the one inside, which opsnet.load(...) and save_pretrained('FOLDER') "
    "write as FOLDER/clip.safetensors"
)


def initialize(model: OPSNet, path: str | Path, recognizer: Recognizer | None = None) -> None:
    """Starts a network from a checkpoint of ``opsnet-train`` or from published weights.

    Args:
        model: the network.
        path: a checkpoint, or what :func:`opsnet.segmenter.published.weight_files.read_weights` reads.
        recognizer: receives the weights of a checkpoint's recognizer, if it is of the same kind.

    Raises:
        CheckpointError, WeightsError: the file does not exist, is neither, is damaged, or is of another network or
            CLIP; nothing is loaded.
    """
    path = Path(path).expanduser()
    if path.is_dir() and is_saved(path):
        raise CheckpointError(
            f"{path} (init_from) is a folder of save_pretrained, for inference: give the checkpoint or published "
            "weights that it was made from"
        )
    if not path.is_dir() and (path.suffix == ".ckpt" or not path.is_file() or is_checkpoint(path)):
        load_initial_weights(model, path, recognizer)
    else:
        load_published_weights(model, path)


def load_published_weights(model: OPSNet, path: Path) -> Loaded:
    """Starts a network from published weights of Mask2Former, FC-CLIP or OVRCOAT, and logs which were loaded.

    Args:
        model: the network; its CLIP is not changed, and must be the one in the file if there is one.
        path: see :func:`initialize`.

    Raises:
        CheckpointError: a weight is not finite.
        WeightsError: see :func:`initialize`.
    """
    source, name = read_weights(path), f"{path} (init_from)"
    check_finite(source, f"weights {name}")
    family = recognise(source, name)
    converted = convert(source)
    try:
        if differences := clip_differences(model.clip.text_encoder.clip, converted.state):
            raise WeightsError(f"weights {name} contain {differences}: {_CLIP_INSIDE}")
        return load_converted(model, converted, name, untrained=family.untrained)
    except WeightsError as error:
        raise WeightsError(f"{error}; it is of {family.name}{_options(family, converted)}") from error


def _options(family: Family, converted: Converted) -> str:
    """The options that build the network of a file of FC-CLIP's kind."""
    if not family.is_open:
        return ""
    try:
        clip = fitting_clip(converted.state)
    except (WeightsError, KeyError):
        return ": model=fcclip backbone=clip, with the clip=... that it was trained with"
    pooling = "" if clip.startswith("convnext") else " clip.pooling=attention"
    return f": model=fcclip backbone=clip clip={clip}{pooling}"
