"""Ctrl-C, SIGTERM and SLURM's warnings stop a training between two steps, where its state is complete."""

from __future__ import annotations

import logging
import signal
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback

from opsnet.utils.stop_signals import STOP_SIGNALS, Stopped, set_handlers

log = logging.getLogger(__name__)


class StopOnSignal(Callback):
    """Stops the training before its next step, or before the next batch of a validation.

    Python raises KeyboardInterrupt anywhere: between a step and its count, or while an optimizer updates the weights. A
    run resumed from such a state would differ. The handler therefore only notes the signal. A second Ctrl-C stops at
    once, without a checkpoint.

    Under DDP the processes agree on the step. In validations, where they do not communicate, each stops by itself.
    """

    def __init__(self) -> None:
        self._received: signal.Signals | None = None

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Replaces the handlers of Lightning, which communicate within a signal or save within a step.

        Lightning restores those from before the training when it ends.
        """
        set_handlers(dict.fromkeys(STOP_SIGNALS, self._note))

    def _note(self, number: int, frame: Any) -> None:
        before, received = self._received, signal.Signals(number)
        if before == received == signal.SIGINT:
            raise Stopped(received, at_once=True)
        self._received = before or received
        if before is None:
            hint = "; Ctrl-C again stops without saving" if received == signal.SIGINT else ""
            log.warning("%s: stopping after this step%s", received.name, hint)

    def on_train_batch_start(self, trainer: L.Trainer, module: L.LightningModule, batch: Any, index: int) -> None:
        """Stops before a step: those before it are complete, and their metrics are logged."""
        together = trainer.world_size > 1
        stop = self._received is not None
        if together:
            stop = trainer.strategy.reduce_boolean_decision(stop, all=False)
        if stop:
            raise Stopped(self._received or signal.SIGTERM, together=together)

    def on_validation_batch_start(
        self, trainer: L.Trainer, module: L.LightningModule, batch: Any, index: int, dataloader_idx: int = 0
    ) -> None:
        """Stops in a validation, which the resumed run repeats."""
        self.check()

    def check(self) -> None:
        """Stops if a signal has come; for long work within a validation.

        Raises:
            Stopped: one has.
        """
        if self._received is not None:
            raise Stopped(self._received)


def stop_if_asked(trainer: L.Trainer) -> None:
    """Stops a training that has received a signal, within a validation."""
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, StopOnSignal):
            callback.check()
