"""Lines that tell how far a training is, where no progress bar can be shown: its output is a file, or a job's log."""

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
    """Logs step, loss, images a second and time left: after the first step, then once an interval.

    Validations count as part of the time: what is left is estimated from all that passed since the training began (or
    was taken up again). Images a second are those of the training alone, since the last line.

    Args:
        every: seconds between two lines.
        clock: seconds, rising.
    """

    def __init__(self, *, every: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.every, self.clock = every, clock
        self._begin = self._told = self._validation = 0.0
        self._first = self._last = -1
        self._images = 0

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """The clock starts."""
        self._images = sum(trainer.datamodule.batch_totals.values())  # type: ignore[attr-defined]
        self._begin = self._told = self.clock()
        self._first = self._last = trainer.global_step

    def on_validation_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """From here on no images are trained."""
        self._validation = self.clock()

    def on_validation_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Takes the validation's time out of the images a second."""
        self._told += self.clock() - self._validation

    def on_train_batch_end(
        self, trainer: L.Trainer, module: L.LightningModule, outputs: Any, batch: Any, index: int
    ) -> None:
        """The line, if it is time and a step is taken."""
        now, step = self.clock(), trainer.global_step
        if step == self._last or (self._last > self._first and now - self._told < self.every):
            return
        speed = (step - self._last) * self._images / max(now - self._told, 1e-9)
        self._told, self._last = now, step
        if not trainer.is_global_zero:
            return
        total = trainer.estimated_stepping_batches
        left = (now - self._begin) / (step - self._first) * (total - step)
        end = f"{timedelta(seconds=round(left))} left" if math.isfinite(left) else "no end set"
        loss = float(trainer.callback_metrics["train/loss"])
        log.info("step %d of %s, loss %.3f, %.3g images/s, %s", step, total, loss, speed, end)
