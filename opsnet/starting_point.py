"""Where a training starts: anew, from the weights of a trained checkpoint, or where a run was stopped."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from opsnet.clip.loading import check_clip_hash
from opsnet.errors import CheckpointError
from opsnet.model import OPSNet

log = logging.getLogger(__name__)


def find_resume(cfg: DictConfig) -> Path | None:
    """The checkpoint to go on from.

    ``resume=auto`` takes the run's own ``last.ckpt``, else that of the newest unfinished run of the same experiment and
    seed; ``resume=PATH`` takes that file.

    Raises:
        CheckpointError: the file does not exist.
    """
    if not cfg.resume:
        return None
    if cfg.resume != "auto":
        path = Path(cfg.resume).expanduser()
        if not path.is_file():
            raise CheckpointError(f"checkpoint {path} (resume) does not exist: check the path, or use resume=auto")
        return path
    own = Path(cfg.output) / "checkpoints" / "last.ckpt"
    if own.is_file():
        return own
    candidates = (Path(cfg.paths.runs) / cfg.experiment_name).glob("*/checkpoints/last.ckpt")
    for path in sorted(candidates, key=lambda p: p.stat().st_mtime, reverse=True):
        run = path.parent.parent
        config = run / ".hydra" / "config.yaml"
        same_seed = config.is_file() and OmegaConf.select(OmegaConf.load(config), "seed") == cfg.seed
        if same_seed and not (run / "results.json").is_file():
            log.info("resuming from %s", path)
            return path
    log.info("resume=auto found no unfinished run of %s with seed %s: starting anew", cfg.experiment_name, cfg.seed)
    return None


def check_resume(path: Path, clip_hash: str, streams: int) -> None:
    """Makes sure that a run can go on from a checkpoint.

    Args:
        path: of the checkpoint.
        clip_hash: of the CLIP that is loaded.
        streams: of training pictures, see :class:`opsnet.data.mixed.MixedDataModule`.

    Raises:
        CheckpointError: it is no checkpoint, or one of another CLIP or of other data.
    """
    checkpoint = _read(path, "resume")
    check_clip_hash(checkpoint, clip_hash, f"checkpoint {path}")
    loop: Any = checkpoint.get("loops", {}).get("fit_loop", {}).get("state_dict", {})
    before = len(loop.get("combined_loader", ())) or streams
    if before != streams:
        raise CheckpointError(
            f"checkpoint {path} (resume) was trained on {before} streams of pictures, and data gives {streams}: resume "
            "with the data group it was trained with, or start a new training from its weights by init_from"
        )


def load_initial_weights(model: OPSNet, path: str | Path) -> None:
    """Starts a network from the weights of a trained checkpoint; its optimizer and progress are left behind.

    Raises:
        CheckpointError: no such file, no checkpoint, or one of another CLIP or network.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise CheckpointError(f"checkpoint {path} (init_from) does not exist: give a .ckpt written by opsnet-train")
    checkpoint = _read(path, "init_from")
    check_clip_hash(checkpoint, model.clip.weights_hash, f"checkpoint {path} (init_from)")
    weights = {k.removeprefix("model."): v for k, v in checkpoint["state_dict"].items() if k.startswith("model.")}
    own = model.state_dict()
    clip = {k: v for k, v in own.items() if k.startswith("clip.")}
    counters = {k for k in weights if k.endswith("num_batches_tracked")}  # which norms that are frozen now do without
    wrong = sorted((own.keys() ^ weights.keys()) - clip.keys() - counters)
    wrong += sorted(k for k in own.keys() & weights.keys() if own[k].shape != weights[k].shape)
    if wrong:
        raise CheckpointError(
            f"checkpoint {path} (init_from) is of another network ({len(wrong)} weights differ, the first is "
            f"{wrong[0]}): give the backbone and model that it was trained with"
        )
    model.load_state_dict({**weights, **clip})


def _read(path: Path, key: str) -> dict[str, Any]:
    try:
        return dict(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:  # pickle, zip and type errors of a foreign or broken file
        raise CheckpointError(
            f"{path} ({key}) is not a checkpoint ({type(error).__name__}): give one written by opsnet-train"
        ) from error
