"""The callback that measures the first steps of a training and stops it after them."""

from __future__ import annotations

import math
import statistics
import time
from dataclasses import dataclass, field
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback

BATCHES = {"cpu": 2, "cuda": 6}
"""Minimum number of batches by device type. The first, with allocation and kernel selection, is not timed."""
STEPS = {"cpu": 1, "cuda": 2}
"""Minimum number of optimizer steps: the first allocates AdamW's states, so the second shows the full memory."""


@dataclass
class StepMeasurements:
    """Measurements of the steps.

    Attributes:
        planned: optimizer steps of the whole training, as counted by Lightning.
        seconds: duration of each batch without waiting for data; an optimizer step is part of its last batch.
        steps: number of optimizer steps taken.
        validation: duration in seconds of the validation batch, and its number of images.
        peak: peak memory in bytes: allocated by PyTorch on this process's GPU, or resident memory on a CPU.
        reserved: bytes reserved by PyTorch on the GPU; 0 on a CPU.
        precision: the precision that Lightning uses.
        device: the device of the steps.
        loss: loss of the last step.
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
        """Mean over all batches except the first, including their share of optimizer steps."""
        return statistics.fmean(self.seconds[1:] or self.seconds or [math.nan])


class Watch(Callback):
    """Stops a training after a few optimizer steps and measures them; changes nothing else."""

    def __init__(self) -> None:
        self.measured = StepMeasurements()
        self.unused: list[str] = []
        self._start, self._first = 0.0, 0

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Records the planned steps."""
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
        """Records the parameters that receive no gradient."""
        self.unused = [name for name, p in module.named_parameters() if p.requires_grad and p.grad is None]

    def on_train_batch_end(
        self, trainer: L.Trainer, module: L.LightningModule, outputs: Any, batch: Any, index: int
    ) -> None:
        """Stops the clock, and the training at the end of a step after enough batches."""
        _wait(module.device)
        measured, kind = self.measured, module.device.type
        measured.seconds.append(time.monotonic() - self._start)
        measured.loss = float(outputs["loss"]) * trainer.accumulate_grad_batches  # Lightning has divided by it
        ended = trainer.global_step - self._first > measured.steps
        measured.steps = trainer.global_step - self._first
        enough = len(measured.seconds) >= BATCHES.get(kind, 2) and measured.steps >= STEPS.get(kind, 1)
        if ended and enough:
            trainer.should_stop = True  # Lightning then validates and ends the epoch, as at the end of a training

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
        """Stops the clock."""
        _wait(module.device)
        self.measured.validation = (time.monotonic() - self._start, len(batch.images))

    def on_fit_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Records the peak memory."""
        self.measured.peak, self.measured.reserved = _peak(module.device)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _peak(device: torch.device) -> tuple[int, int]:
    """Peak and reserved bytes."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device), torch.cuda.max_memory_reserved(device)
    import resource
    import sys

    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size if sys.platform == "darwin" else size * 1024, 0
