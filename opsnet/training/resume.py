"""Finds the run that a training resumes, and refuses to continue it as another training."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from opsnet.checkpoint.reading import read_checkpoint
from opsnet.training.checkpoint_io import previous
from opsnet.training.run_folder import is_running
from opsnet.utils.errors import CheckpointError
from opsnet.utils.run_yaml import run_value

log = logging.getLogger(__name__)

FREE = (
    "backbone.weights", "clip.model.weights", "clip.text_cache",
    "checkpoint_every", "experiment_name", "hydra", "init_from", "launcher", "logger", "nonfinite_limit",
    "on_nonfinite", "output", "paths", "probes", "progress_every", "resume", "resume_changed", "skip_done", "world",
    "data.module.device_batch_size", "data.module.num_workers", "trainer.accelerator",
    "trainer.accumulate_grad_batches", "trainer.check_val_every_n_epoch", "trainer.default_root_dir",
    "trainer.devices", "trainer.enable_model_summary", "trainer.enable_progress_bar", "trainer.log_every_n_steps",
    "trainer.num_nodes", "trainer.plugins", "trainer.strategy",
)  # fmt: skip
"""Keys, or their first parts, that may differ when a run resumes: they do not affect what is learned."""


def find_resume(cfg: DictConfig) -> Path | None:
    """The checkpoint to resume from.

    ``resume=auto`` takes the run's own newest checkpoint that is whole, else that of the newest unfinished run of the
    same experiment and seed; ``resume=PATH`` takes that file.

    Raises:
        CheckpointError: the file does not exist, that run is still running, or none of its checkpoints is whole.
    """
    if not cfg.resume:
        return None
    if cfg.resume != "auto":
        path = Path(cfg.resume).expanduser()
        if not path.is_file():
            raise CheckpointError(f"checkpoint {path} (resume) does not exist: check the path, or use resume=auto")
        return path
    if any(_checkpoints(Path(cfg.output))):
        return newest_whole(Path(cfg.output))
    candidates = (Path(cfg.paths.runs) / cfg.experiment_name).glob("*/checkpoints")
    for folder in sorted(candidates, key=_age, reverse=True):
        run = folder.parent
        same_seed = run_value(run / ".hydra" / "config.yaml", "seed") == cfg.seed
        if same_seed and any(_checkpoints(run)) and not (run / "results.json").is_file():
            if is_running(run):
                raise CheckpointError(
                    f"the training in {run} (resume=auto) is still running: wait for its end, or start another one "
                    "without resume"
                )
            path = newest_whole(run)
            log.info("resuming from %s", path)
            return path
    log.info(
        "resume=auto found no unfinished run of %s with seed %s: starting a new run", cfg.experiment_name, cfg.seed
    )
    return None


def _checkpoints(run: Path) -> list[Path]:
    """The checkpoints of a run in the order in which resuming tries them."""
    last, best = (run / "checkpoints" / f"{name}.ckpt" for name in ("last", "best"))
    return [path for path in (last, previous(last), best, previous(best)) if path.is_file()]


def _age(folder: Path) -> float:
    return max((path.stat().st_mtime for path in folder.glob("*.ckpt")), default=0.0)


def newest_whole(run: Path) -> Path:
    """The first checkpoint of a run that can be read and has finite weights; the log names those that cannot.

    Raises:
        CheckpointError: there is none.
    """
    for path in _checkpoints(run):
        try:
            read_checkpoint(path)
        except CheckpointError as error:
            log.warning("%s; trying the one before", error)
            continue
        return path
    raise CheckpointError(
        f"none of the checkpoints in {run / 'checkpoints'} (resume=auto) is whole: remove the folder and train again"
    )


def training_options(cfg: DictConfig) -> dict[str, Any]:
    """Key -> value of the options that affect what is learned; paths stay references, so that data may move."""
    flat: dict[str, Any] = {}
    _flatten(OmegaConf.to_container(cfg, resolve=False), "", flat)
    return {key: value for key, value in flat.items() if not _is_free(key)}


def _flatten(value: Any, key: str, flat: dict[str, Any]) -> None:
    if isinstance(value, dict) and value:
        for name, part in value.items():
            _flatten(part, f"{key}.{name}" if key else str(name), flat)
    else:
        flat[key] = value


def _is_free(key: str) -> bool:
    return any(key == free or key.startswith(f"{free}.") for free in FREE)


def check_same_options(checkpoint: Mapping[str, Any], cfg: DictConfig, path: Path) -> None:
    """Refuses to resume with options that affect the result and differ from those of the training.

    Args:
        checkpoint: its content; those of earlier versions do not have the options, and are accepted.
        cfg: conf/train.yaml; ``resume_changed=true`` accepts the differences, which are logged.
        path: path of the checkpoint, for the message.

    Raises:
        CheckpointError: an option differs; the message names it with both values.
    """
    before = checkpoint.get("callbacks", {}).get("KeepOptions", {}).get("options")
    if not isinstance(before, Mapping):
        return
    now = training_options(cfg)
    changed = [key for key in sorted(before.keys() | now.keys()) if before.get(key) != now.get(key)]
    if not changed:
        return
    shown = ", ".join(f"{key} was {before.get(key)} and is {now.get(key)}" for key in changed[:5])
    more = f", and {len(changed) - 5} more" if len(changed) > 5 else ""
    if cfg.resume_changed:
        log.warning("resuming %s with other options: %s%s", path, shown, more)
        return
    raise CheckpointError(
        f"checkpoint {path} (resume) was trained with other options: {shown}{more}. Resume with the same, start a new "
        "training from its weights with init_from, or add resume_changed=true"
    )
