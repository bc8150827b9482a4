"""What a run tells its loggers beside its figures, and a wandb logger that needs no network and goes on when resumed.

A run's wandb id lies in its folder, so that what resumes it, from there or from another folder, is the same wandb run.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.loggers.logger import rank_zero_experiment
from lightning.pytorch.utilities import rank_zero_only

from opsnet.paper.trainings import rows_of
from opsnet.utils.errors import InputError
from opsnet.utils.files import atomic_path

log = logging.getLogger(__name__)
RUN_ID = "wandb_id.txt"
"""In a run's folder."""


class RecordRun(Callback):
    """Hands the configuration to the loggers beside the CSV one, and the final figures to wandb's summary.

    Args:
        config: the run's configuration.
    """

    def __init__(self, *, config: Mapping[str, Any]) -> None:
        self.config = flatten(config)

    def on_fit_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Hands over the configuration."""
        for logger in trainer.loggers[1:]:
            logger.log_hyperparams(self.config)

    @rank_zero_only
    def on_fit_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Hands over the final figures, which wandb would otherwise lack where the last steps were not logged."""
        metrics = {key: float(value) for key, value in trainer.callback_metrics.items()}
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                logger.experiment.summary.update(metrics)


class ResumableWandbLogger(WandbLogger):
    """Lightning's wandb logger for runs on clusters.

    It goes on with the wandb run whose id lies in ``save_dir``. Without a network it goes on offline, and a run that
    ended is closed, so that the next job of a sweep is a run of its own.

    Args:
        save_dir: the run's folder.
        offline: send nothing; ``wandb sync FOLDER/wandb/offline-run-*`` does so later.
        checkpoints: upload ``best`` and ``last`` as artifacts when the training has ended.
        kwargs: what ``WandbLogger`` and ``wandb.init`` take.
    """

    def __init__(self, *, save_dir: str, offline: bool = True, checkpoints: bool = False, **kwargs: Any) -> None:
        path = Path(save_dir) / RUN_ID
        if path.is_file():
            kwargs.setdefault("id", path.read_text(encoding="utf-8").strip())
        # Not the parent's `offline`: it would set WANDB_MODE for everything that this process does later.
        super().__init__(save_dir=save_dir, mode="offline" if offline else None, **kwargs)
        self._with_checkpoints = checkpoints
        self._written: dict[str, Path] = {}

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The wandb run, begun at the first call."""
        import wandb
        from wandb.errors import AuthenticationError, CommError, UsageError

        if self._experiment is not None:
            return self._experiment
        Path(self._wandb_init["dir"]).mkdir(parents=True, exist_ok=True)  # or wandb writes to a temporary folder
        try:
            return super().experiment
        except (AuthenticationError, UsageError) as error:
            raise InputError(
                f"wandb does not start ({_line(error)}): log in with `wandb login`, or give logger.wandb.offline=true"
            ) from error
        except CommError as error:
            log.warning("wandb cannot be reached (%s); the run goes on offline, see `wandb sync`", _line(error))
            self._wandb_init["mode"] = "offline"
            wandb.teardown()  # or the id would still be in use by the attempt
            return super().experiment

    def after_save_checkpoint(self, checkpoint_callback: ModelCheckpoint) -> None:
        """Remembers the newest file of each kind."""
        self._written[str(checkpoint_callback.filename)] = Path(checkpoint_callback.best_model_path)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Ends the wandb run, with its artifacts where the training has come to its end."""
        if self._experiment is None:
            return
        if status == "success" and self._with_checkpoints:
            for path in self._written.values():
                self._log_checkpoint(path)
        self._experiment.finish(exit_code=0 if status == "success" else 1)

    def _log_checkpoint(self, path: Path) -> None:
        import wandb

        artifact = wandb.Artifact(f"model-{self._experiment.id}", type="model", metadata={"file": path.name})  # type: ignore[union-attr]
        artifact.add_file(str(path), name="model.ckpt")
        self._experiment.log_artifact(artifact, aliases=[path.stem])  # type: ignore[union-attr]


def _line(error: Exception) -> str:
    return " ".join(str(error).split())


@rank_zero_only
def keep_run_id(folder: Path, resume: Path | None) -> None:
    """Writes the wandb id of a run into its folder: that of the run that it resumes, or a new one.

    Args:
        folder: the run's.
        resume: the checkpoint to go on from, in the ``checkpoints`` of the run that wrote it.
    """
    before = resume.parent.parent / RUN_ID if resume is not None else None
    name = before.read_text(encoding="utf-8").strip() if before and before.is_file() else uuid.uuid4().hex[:12]
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_path(folder / RUN_ID) as temporary:
        temporary.write_text(f"{name}\n", encoding="utf-8")


def sweep_name() -> str | None:
    """The name of the sweep's folder where Hydra runs several jobs (``-m``); ``None`` for a single run."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    if not HydraConfig.initialized() or HydraConfig.get().mode is not RunMode.MULTIRUN:
        return None
    return Path(HydraConfig.get().sweep.dir).name


def table_tags(name: str) -> list[str]:
    """The tables of the paper that a training answers: ``["table1", "table2", ...]``; none for another experiment."""
    return list(dict.fromkeys(f"table{row.table}" for row in rows_of(name)))


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested keys joined by ``/``, as wandb filters and plots them: ``modulation/alpha``."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        name = f"{prefix}{key}"
        flat.update(flatten(value, f"{name}/") if isinstance(value, Mapping) and value else {name: value})
    return flat
