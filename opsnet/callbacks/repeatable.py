"""Repeatable randomness, and a checkpoint at every interruption that resumes exactly."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from opsnet.module import FROZEN_PREFIXES

log = logging.getLogger(__name__)


class SeedEveryStep(Callback):
    """Makes the random numbers of a training step a function of (seed, step, rank).

    A run that resumes at a step then draws what the uninterrupted run would have drawn there.
    """

    def __init__(self, *, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(self, trainer: L.Trainer, module: L.LightningModule, batch: Any, index: int) -> None:
        """Seeds torch for the step."""
        torch.manual_seed((self.seed * 1_000_003 + trainer.global_step) * 1_009 + trainer.global_rank)


class InterruptCheckpoint(Callback):
    """Writes ``last.ckpt`` when a run ends early, by Ctrl-C or an error, so that ``resume=auto`` goes on from there.

    What is written is the state between two steps: a step that was cut short has moved the running statistics of
    batch norms already, and will move them once more when it is taken again.
    """

    def __init__(self, *, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._buffers: list[tuple[Tensor, Tensor]] = []

    def on_train_batch_start(self, trainer: L.Trainer, module: L.LightningModule, batch: Any, index: int) -> None:
        """Remembers the running statistics before the step."""
        own = (b for name, b in module.named_buffers() if not name.startswith(FROZEN_PREFIXES))
        self._buffers = [(b, b.clone()) for b in own]

    def on_train_batch_end(
        self, trainer: L.Trainer, module: L.LightningModule, outputs: Any, batch: Any, index: int
    ) -> None:
        """The step is taken."""
        self._buffers = []

    def on_exception(self, trainer: L.Trainer, module: L.LightningModule, exception: BaseException) -> None:
        """Saves at the last finished step."""
        # Saving is collective under DDP: after an error on one rank the others would wait for it forever.
        if trainer.global_step == 0 or (trainer.world_size > 1 and not isinstance(exception, KeyboardInterrupt)):
            return
        if not self._settle(trainer):
            return
        trainer.save_checkpoint(self.folder / "last.ckpt")  # Lightning renames a temporary file
        if trainer.is_global_zero:
            log.warning(
                "stopped at step %d; resume=auto goes on from %s", trainer.global_step, self.folder / "last.ckpt"
            )

    @torch.no_grad()
    def _settle(self, trainer: L.Trainer) -> bool:
        """Sets Lightning's counters to a place that it resumes exactly; ``False``: that is the checkpoint on disk."""
        loop = trainer.fit_loop.epoch_loop
        batches: Any = loop.batch_progress
        if batches.current.processed < batches.current.ready:  # within a step
            for buffer, before in self._buffers:
                buffer.copy_(before)
            loop._batches_that_stepped -= 1  # Lightning adds one when it resumes at a step that was cut short
            return True
        ended = batches.current.ready >= trainer.num_training_batches
        stepped = batches.current.completed < batches.current.processed
        if trainer.validating or (ended and stepped and loop._should_check_val_epoch()):
            # Resumed as it stands, the epoch would go without its validation; so the first of its batches is open.
            for part in (batches.total, batches.current):
                part.started = part.processed = part.completed = part.ready
            validated: Any = loop.val_loop.batch_progress
            validated.reset()
            for part in (validated.total, validated.current):
                part.ready = part.started = 1
            return True
        return stepped or not ended  # between two epochs, Lightning would take the next one for done
