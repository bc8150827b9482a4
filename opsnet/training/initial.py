"""Checks the weights that a training starts from before data and networks are loaded, and finds the CLIP they need."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from opsnet.checkpoint.stored_clip import stored_weights
from opsnet.published.open_model import is_checkpoint, weights_inside
from opsnet.utils.errors import CheckpointError
from opsnet.utils.torch_files import load_tensors

log = logging.getLogger(__name__)


def with_initial_clip(cfg: DictConfig) -> DictConfig:
    """The configuration with CLIP's weights at the place that exists.

    The data folder may have moved since the training of ``init_from``, whose weights need the same CLIP: it is taken
    from the path of that training if there is none at the configured one.

    Args:
        cfg: conf/train.yaml.

    Raises:
        CheckpointError: there is no file at ``init_from``, or its CLIP is at neither place.
    """
    if not cfg.init_from:
        return cfg
    path = Path(cfg.init_from).expanduser()
    _require(path)
    configured = str(OmegaConf.select(cfg, "clip.model.weights"))
    if configured in ("builtin", "random") or Path(configured).expanduser().is_file() or not path.is_file():
        return cfg
    trained_with = _clip_of(path)
    if trained_with is None:
        return cfg
    if not Path(trained_with).is_file():
        raise CheckpointError(
            f"{path} (init_from) needs the CLIP that it was trained with, which is neither at {configured} nor at "
            f"{trained_with}: give clip.model.weights=PATH of that file; a newly trained CLIP does not fit"
        )
    log.info("CLIP's weights are not at %s: taken from %s, as in the training of %s", configured, trained_with, path)
    return OmegaConf.merge(cfg, {"clip": {"model": {"weights": trained_with}}})  # type: ignore[return-value]


def _require(path: Path) -> None:
    """Checks that there is something to start from.

    Raises:
        CheckpointError: there is not.
    """
    if not path.exists():
        raise CheckpointError(
            f"checkpoint {path} (init_from) does not exist: give init_from=PATH of a .ckpt of opsnet-train, or of "
            "published weights (docs/models.md)"
        )
    if path.is_dir() and (found := weights_inside(path)):
        raise CheckpointError(f"{path} (init_from) is a folder: did you mean init_from={found[0]}?")


def _clip_of(path: Path) -> str | None:
    """The path of CLIP's weights in the training of a checkpoint; ``None`` of published weights.

    Raises:
        CheckpointError: its configuration is not plain, or has something else there.
    """
    if not is_checkpoint(path):
        return None
    about = load_tensors(path, mmap=True)["opsnet"]
    return stored_weights(about.get("config") if isinstance(about, Mapping) else None, f"checkpoint {path} (init_from)")
