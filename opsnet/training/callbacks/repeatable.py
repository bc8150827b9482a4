"""Reproducible randomness, and a checkpoint at every interruption from which a run resumes exactly."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy
from torch import Tensor, nn

from opsnet.checkpoint.content import FROZEN_PREFIXES
from opsnet.utils.errors import CheckpointError
from opsnet.utils.stop_signals import Stopped

log = logging.getLogger(__name__)


class SeedEveryStep(Callback):
    """Makes the random numbers of a training batch a function of (seed, step, index of the batch within the step).

    A resumed run then draws the same numbers as an uninterrupted one. The index counts processes and the batches that
    each accumulates, so that all of them draw different numbers.
    """

    def __init__(self, *, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(self, trainer: L.Trainer, module: L.LightningModule, batch: Any, index: int) -> None:
        """Seeds torch for the batch."""
        part = (index % trainer.accumulate_grad_batches) * trainer.world_size + trainer.global_rank
        torch.manual_seed((self.seed * 1_000_003 + trainer.global_step) * 1_009 + part)


class InterruptCheckpoint(Callback):
    """Writes ``last.ckpt`` when a run is stopped by a signal or an error, so that ``resume=auto`` continues from it.

    The checkpoint has the state between two optimizer steps: an interrupted step has already updated the running
    statistics of batch norms, which are restored, because the resumed run repeats the step.

    Under DDP all processes have the same state, and one writes it without synchronizing with the others, which may be
    blocked elsewhere: after a signal the first process, after an error every process that raises one (Lightning
    terminates the others at once). If all stop at the same step, the others wait for it to be written.
    """

    def __init__(self, *, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._buffers: list[tuple[Tensor, Tensor]] = []
        self._moving: list[Tensor] | None = None
        self._begun = False

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Collects the running statistics."""
        self._moving = list(moving_buffers(module))

    def on_train_batch_start(self, trainer: L.Trainer, module: L.LightningModule, batch: Any, index: int) -> None:
        """Copies the running statistics before the step."""
        self._begun = True
        if index % trainer.accumulate_grad_batches == 0:
            self._buffers = [(b, b.clone()) for b in self._moving or ()]

    def on_exception(self, trainer: L.Trainer, module: L.LightningModule, exception: BaseException) -> None:
        """Saves the state after the last complete step."""
        by_signal = isinstance(exception, (KeyboardInterrupt, Stopped))
        if isinstance(exception, Stopped) and exception.at_once:
            log.warning("stopped at once, without saving; resume=auto continues from the last checkpoint")
        elif trainer.is_global_zero or not by_signal:
            self._save(trainer)
        if isinstance(exception, Stopped) and exception.together:
            trainer.strategy.barrier("stopped")

    def _save(self, trainer: L.Trainer) -> None:
        replicated = isinstance(trainer.strategy, (SingleDeviceStrategy, DDPStrategy))
        if not self.folder.parent.is_dir():  # a new one would have neither the configuration nor the metrics so far
            log.warning("the run's folder %s was removed: nothing is saved", self.folder.parent)
            return
        # Before its first batch a resumed run has its checkpoint's state, and counters that Lightning still adjusts.
        if trainer.global_step == 0 or not self._begun or not replicated or not self._settle(trainer):
            return
        path = self.folder / "last.ckpt"
        # Like trainer.save_checkpoint, but without waiting for all processes.
        checkpoint = trainer._checkpoint_connector.dump_checkpoint(weights_only=False)
        try:
            trainer.strategy.checkpoint_io.save_checkpoint(checkpoint, path)
        except CheckpointError as error:  # the exception that stopped the run says more
            log.warning("interrupted at step %d, which was not saved: %s", trainer.global_step, error)
            return
        log.warning("interrupted at step %d; resume=auto continues from %s", trainer.global_step, path)

    @torch.no_grad()
    def _settle(self, trainer: L.Trainer) -> bool:
        """Sets Lightning's counters to a state that resumes exactly; ``False`` if the checkpoint on disk has it."""
        loop = trainer.fit_loop.epoch_loop
        batches: Any = loop.batch_progress
        stepped = batches.current.completed < batches.current.processed
        if (
            batches.current.ready == 0
        ):  # the epoch's first batch could not be read: as if it had been, but not trained on
            self._buffers = []
            for part in (batches.total, batches.current):
                part.ready += 1
        within = batches.current.processed < batches.current.ready
        if within or loop._should_accumulate():
            for buffer, before in self._buffers:
                buffer.copy_(before)
            self._rewind(trainer)
            return True
        ended = batches.current.ready >= trainer.num_training_batches
        if trainer.validating or (ended and stepped and loop._should_check_val_epoch()):
            # Otherwise the resumed epoch would skip its validation, so its first batch is marked as pending.
            for part in (batches.total, batches.current):
                part.started = part.processed = part.completed = part.ready
            validated: Any = loop.val_loop.batch_progress
            validated.reset()
            for part in (validated.total, validated.current):
                part.ready = part.started = 1
            return True
        return stepped or not ended  # between two epochs, Lightning would skip the next one

    def _rewind(self, trainer: L.Trainer) -> None:
        """Rewinds to the state in which the step's first batch has been read, but not trained on."""
        loop = trainer.fit_loop.epoch_loop
        batches: Any = loop.batch_progress
        surplus = (batches.current.ready - 1) % trainer.accumulate_grad_batches
        for part in (batches.total, batches.current):
            part.ready -= surplus
            part.started = min(part.started, part.ready)
            part.processed = part.completed = part.ready - 1
        batches.is_last_batch = False
        if not loop._should_accumulate():
            loop._batches_that_stepped -= 1  # Lightning adds one when it resumes at an interrupted step


def moving_buffers(module: nn.Module) -> Iterator[Tensor]:
    """The buffers that training updates: running statistics of norms that are neither frozen nor CLIP's."""
    for name, part in module.named_modules():
        if isinstance(part, nn.modules.batchnorm._NormBase) and part.training:
            yield from () if f"{name}.".startswith(FROZEN_PREFIXES) else part.buffers(recurse=False)
