"""Logs a run's configuration and final metrics, and a wandb logger that works offline and resumes runs.

A run's wandb id is stored in its folder, so that a run resumed from there or from another folder is the same wandb run.
"""

from __future__ import annotations

import functools
import logging
import re
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
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
"""Name of the file in a run's folder."""


class RecordRun(Callback):
    """Logs the configuration with all loggers except the CSV logger, and the final metrics to wandb's summary.

    Args:
        config: the run's configuration.
    """

    def __init__(self, *, config: Mapping[str, Any]) -> None:
        self.config = flatten(config)

    def on_fit_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Logs the configuration."""
        for logger in trainer.loggers[1:]:
            logger.log_hyperparams(self.config)

    @rank_zero_only
    def on_fit_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Logs the final metrics, which wandb would miss if the last steps were not logged."""
        metrics = {key: float(value) for key, value in trainer.callback_metrics.items()}
        for logger in trainer.loggers:
            if isinstance(logger, ResumableWandbLogger):
                logger.log_summary(metrics)


def never_stops(method: Callable[..., None]) -> Callable[..., None]:
    """A method of :class:`ResumableWandbLogger` whose errors do not end the training, except those of the user."""

    @functools.wraps(method)
    def call(self: ResumableWandbLogger, *given: Any, **named: Any) -> None:
        if self.lost:
            return
        try:
            method(self, *given, **named)
        except InputError:
            raise
        except Exception as error:
            self.lost = True
            cause = f"{type(error).__name__}: {_line(error)}"
            log.warning("wandb failed (%s): the training continues without it, and metrics.csv has all metrics", cause)

    return call


class ResumableWandbLogger(WandbLogger):
    """Lightning's wandb logger for runs on clusters.

    It resumes the wandb run whose id is stored in ``save_dir``. Without a network it continues offline; if wandb itself
    fails later, for example because its process was killed, the training continues without it. A finished run is
    closed, so that the next job of a sweep is a separate run.

    Args:
        save_dir: the run's folder.
        offline: send nothing; ``wandb sync FOLDER/wandb/offline-run-*`` uploads the run later.
        checkpoints: upload ``best`` and ``last`` as artifacts at the end of the training.
        kwargs: arguments of ``WandbLogger`` and ``wandb.init``.
    """

    def __init__(self, *, save_dir: str, offline: bool = True, checkpoints: bool = False, **kwargs: Any) -> None:
        path = Path(save_dir) / RUN_ID
        if path.is_file():
            kwargs.setdefault("id", path.read_text(encoding="utf-8").strip())
        # Not the parent's `offline`, which would set WANDB_MODE for the rest of this process.
        super().__init__(save_dir=save_dir, mode="offline" if offline else None, **kwargs)
        self._with_checkpoints = checkpoints
        self._written: dict[str, Path] = {}
        self.lost = False

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The wandb run, started at first access."""
        import wandb
        from wandb.errors import AuthenticationError, CommError, UsageError

        if self._experiment is not None:
            return self._experiment
        Path(self._wandb_init["dir"]).mkdir(parents=True, exist_ok=True)  # otherwise wandb writes to a temporary folder
        try:
            return super().experiment
        except (AuthenticationError, UsageError) as error:
            raise InputError(
                f"wandb cannot start ({_line(error)}): log in with `wandb login`, or give logger.wandb.offline=true"
            ) from error
        except CommError as error:
            log.warning("wandb cannot be reached (%s); the run continues offline, see `wandb sync`", _line(error))
            self._wandb_init["mode"] = "offline"
            wandb.teardown()  # otherwise the failed attempt would still hold the id
            return super().experiment

    @never_stops
    def log_metrics(self, *given: Any, **named: Any) -> None:
        """Logs metrics of a step."""
        super().log_metrics(*given, **named)

    @never_stops
    def log_hyperparams(self, *given: Any, **named: Any) -> None:
        """Logs the configuration."""
        super().log_hyperparams(*given, **named)

    @never_stops
    def log_image(self, *given: Any, **named: Any) -> None:
        """Logs images of a validation."""
        super().log_image(*given, **named)

    @never_stops
    def log_summary(self, metrics: Mapping[str, float]) -> None:
        """Logs the final metrics."""
        self.experiment.summary.update(metrics)

    def after_save_checkpoint(self, checkpoint_callback: ModelCheckpoint) -> None:
        """Remembers the newest file of each kind."""
        self._written[str(checkpoint_callback.filename)] = Path(checkpoint_callback.best_model_path)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Finishes the wandb run, and uploads its artifacts if the training is complete."""
        if self._experiment is None:
            return
        self._finish(status)
        if self.lost:
            import wandb

            with suppress(Exception):  # otherwise wandb prints a traceback when this process ends
                wandb.teardown()
            self._experiment = None

    @never_stops
    def _finish(self, status: str) -> None:
        if status == "success" and self._with_checkpoints:
            for path in self._written.values():
                self._log_checkpoint(path)
        self._experiment.finish(exit_code=0 if status == "success" else 1)  # type: ignore[union-attr]

    def _log_checkpoint(self, path: Path) -> None:
        import wandb

        artifact = wandb.Artifact(f"model-{self._experiment.id}", type="model", metadata={"file": path.name})  # type: ignore[union-attr]
        artifact.add_file(str(path), name="model.ckpt")
        self._experiment.log_artifact(artifact, aliases=[path.stem])  # type: ignore[union-attr]


def _line(error: Exception) -> str:
    return " ".join(str(error).split())


@rank_zero_only
def keep_run_id(folder: Path, resume: Path | None) -> None:
    """Writes the wandb id of a run into its folder: the id of the run that it resumes, or a new one.

    Args:
        folder: the run's folder.
        resume: the checkpoint to resume from, in the folder ``checkpoints`` of its run.
    """
    name = (_run_id(resume.parent.parent / RUN_ID) if resume is not None else None) or uuid.uuid4().hex[:12]
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_path(folder / RUN_ID) as temporary:
        temporary.write_text(f"{name}\n", encoding="utf-8")


def _run_id(path: Path) -> str | None:
    """The id in a file; ``None`` if it has none: what is in it, or in the file that it links to, is sent to wandb."""
    if path.is_symlink() or not path.is_file() or path.stat().st_size > 100:
        return None
    name = path.read_bytes().decode(errors="replace").strip()
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else None


def sweep_name() -> str | None:
    """The name of the sweep's folder if Hydra runs several jobs (``-m``); ``None`` for a single run."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    if not HydraConfig.initialized() or HydraConfig.get().mode is not RunMode.MULTIRUN:
        return None
    return Path(HydraConfig.get().sweep.dir).name


def table_tags(name: str) -> list[str]:
    """The paper's tables that use a training: ``["table1", "table2", ...]``; empty for other experiments."""
    return list(dict.fromkeys(f"table{row.table}" for row in rows_of(name)))


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested keys joined by ``/``, as wandb groups them: ``modulation/alpha``."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        name = f"{prefix}{key}"
        flat.update(flatten(value, f"{name}/") if isinstance(value, Mapping) and value else {name: value})
    return flat
