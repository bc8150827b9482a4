"""Finds the run that a training resumes."""

from __future__ import annotations

import logging
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from opsnet.utils.errors import CheckpointError

log = logging.getLogger(__name__)


def find_resume(cfg: DictConfig) -> Path | None:
    """The checkpoint to resume from.

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
    log.info(
        "resume=auto found no unfinished run of %s with seed %s: starting a new run", cfg.experiment_name, cfg.seed
    )
    return None
