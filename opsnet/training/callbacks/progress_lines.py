"""Logs the progress of a training where no progress bar can be shown, as in a file or a job's log."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback

log = logging.getLogger(__name__)


class ProgressLines(Callback):
    """Logs step, loss, images per second and remaining time: after the first step, then once per interval.

    The remaining time is estimated from all the time since the training began or was resumed, including validations.
    Images per second are measured since the last line, without validations.

    Args:
        every: seconds between two lines.
        clock: a monotonic clock in seconds.
    """

    def __init__(self, *, every: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.every, self.clock = every, clock
        self._begin = self._last_line = self._validation = 0.0
        self._first = self._last = -1
        self._images = 0

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Starts the clock."""
        self._images = sum(trainer.datamodule.batch_totals.values())  # type: ignore[attr-defined]
        self._begin = self._last_line = self.clock()
        self._first = self._last = trainer.global_step

    def on_validation_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Starts the clock of the validation."""
        self._validation = self.clock()

    def on_validation_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Excludes the validation's time from the images per second."""
        self._last_line += self.clock() - self._validation

    def on_train_batch_end(
        self, trainer: L.Trainer, module: L.LightningModule, outputs: Any, batch: Any, index: int
    ) -> None:
        """Logs a line if the interval has passed and a step was made."""
        now, step = self.clock(), trainer.global_step
        if step == self._last or (self._last > self._first and now - self._last_line < self.every):
            return
        speed = (step - self._last) * self._images / max(now - self._last_line, 1e-9)
        self._last_line, self._last = now, step
        if not trainer.is_global_zero:
            return
        total = trainer.estimated_stepping_batches
        left = (now - self._begin) / (step - self._first) * (total - step)
        end = f"{timedelta(seconds=round(left))} left" if math.isfinite(left) else "no end set"
        loss = float(trainer.callback_metrics["train/loss"])
        log.info("step %d of %s, loss %.3f, %.3g images/s, %s", step, total, loss, speed, end)
