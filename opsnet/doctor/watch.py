"""What is measured while a training takes its first steps, and what ends it after these."""

from __future__ import annotations

import math
import statistics
import time
from dataclasses import dataclass, field
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback

from opsnet.utils.errors import InputError

BATCHES = {"cpu": 2, "cuda": 6}
"""Batches to take at least, by type of device. The first, which allocates and chooses kernels, is not timed."""
STEPS = {"cpu": 1, "cuda": 2}
"""Optimiser steps to take at least: the states of AdamW, which the first makes, are in the memory of the second."""


@dataclass
class StepMeasurements:
    """What the steps measured.

    Attributes:
        planned: optimiser steps of the whole training, by Lightning's count.
        seconds: of each batch, without waiting for data; optimiser steps are part of the last batch of theirs.
        steps: optimiser steps taken.
        validation: seconds of the validation batch, and its images.
        peak: bytes: allocated by PyTorch on this process's GPU, or the process's resident memory on a CPU.
        reserved: bytes that PyTorch took from the GPU; 0 on a CPU.
        precision: as Lightning runs it.
        device: that the steps ran on.
        loss: of the last step.
    """

    planned: float = 0
    seconds: list[float] = field(default_factory=list)
    steps: int = 0
    validation: tuple[float, int] = (0.0, 0)
    peak: int = 0
    reserved: int = 0
    precision: str = ""
    device: str = ""
    loss: float = math.nan

    @property
    def seconds_per_batch(self) -> float:
        """Mean of all batches but the first, so with as many optimiser steps as batches have."""
        return statistics.fmean(self.seconds[1:] or self.seconds or [math.nan])


class Watch(Callback):
    """Ends a training after a few optimiser steps, and measures them; changes nothing else of it."""

    def __init__(self) -> None:
        self.measured = StepMeasurements()
        self.unused: list[str] = []
        self._start, self._first = 0.0, 0

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Notes what is planned."""
        self._first = trainer.global_step
        self.measured.planned = trainer.estimated_stepping_batches
        self.measured.precision, self.measured.device = str(trainer.precision), str(module.device)
        if module.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(module.device)

    def on_train_batch_start(self, trainer: L.Trainer, module: L.LightningModule, batch: Any, index: int) -> None:
        """Starts the clock."""
        _wait(module.device)
        self._start = time.monotonic()

    def on_before_optimizer_step(self, trainer: L.Trainer, module: L.LightningModule, optimizer: Any) -> None:
        """Notes the parameters that no loss reaches."""
        self.unused = [name for name, p in module.named_parameters() if p.requires_grad and p.grad is None]

    def on_train_batch_end(
        self, trainer: L.Trainer, module: L.LightningModule, outputs: Any, batch: Any, index: int
    ) -> None:
        """Stops the clock, and the training at the end of a step once there are enough."""
        _wait(module.device)
        measured, kind = self.measured, module.device.type
        measured.seconds.append(time.monotonic() - self._start)
        measured.loss = float(outputs["loss"]) * trainer.accumulate_grad_batches  # Lightning gives the share of a step
        if not math.isfinite(measured.loss):
            raise InputError(
                f"the loss of batch {len(measured.seconds)} is {measured.loss}: give ++trainer.precision=32-true, or a "
                "lower optim.optimizer.lr"
            )
        ended = trainer.global_step - self._first > measured.steps
        measured.steps = trainer.global_step - self._first
        enough = len(measured.seconds) >= BATCHES.get(kind, 2) and measured.steps >= STEPS.get(kind, 1)
        if ended and enough:
            trainer.should_stop = True  # Lightning validates and ends the epoch, as at the end of a training

    def on_validation_batch_start(
        self, trainer: L.Trainer, module: L.LightningModule, batch: Any, index: int, dataloader_idx: int = 0
    ) -> None:
        """Starts the clock."""
        _wait(module.device)
        self._start = time.monotonic()

    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        module: L.LightningModule,
        outputs: Any,
        batch: Any,
        index: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Stops it."""
        _wait(module.device)
        self.measured.validation = (time.monotonic() - self._start, len(batch.images))

    def on_fit_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Notes the peak of memory."""
        self.measured.peak, self.measured.reserved = _peak(module.device)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _peak(device: torch.device) -> tuple[int, int]:
    """Bytes at the peak, and reserved."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device), torch.cuda.max_memory_reserved(device)
    import resource
    import sys

    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size if sys.platform == "darwin" else size * 1024, 0
