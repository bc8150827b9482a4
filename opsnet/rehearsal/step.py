"""Optimiser steps, a validation and checkpoints of a run, by the Trainer that trains it."""

from __future__ import annotations

import math
import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from omegaconf import DictConfig, OmegaConf

from opsnet.errors import InputError
from opsnet.module import FROZEN_PREFIXES
from opsnet.recipe import plan_steps
from opsnet.rehearsal.checklist import Checklist

BATCHES = {"cpu": 2, "cuda": 6}
"""Batches to take at least, by type of device. The first, which allocates and chooses kernels, is not timed."""
STEPS = {"cpu": 1, "cuda": 2}
"""Optimiser steps to take at least: the states of AdamW, which the first makes, are in the memory of the second."""


@dataclass
class StepFigures:
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
        self.figures = StepFigures()
        self.unused: list[str] = []
        self._start, self._first = 0.0, 0

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Notes what is planned."""
        self._first = trainer.global_step
        self.figures.planned = trainer.estimated_stepping_batches
        self.figures.precision, self.figures.device = str(trainer.precision), str(module.device)
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
        figures, kind = self.figures, module.device.type
        figures.seconds.append(time.monotonic() - self._start)
        figures.loss = float(outputs["loss"]) * trainer.accumulate_grad_batches  # Lightning gives the share of a step
        if not math.isfinite(figures.loss):
            raise InputError(
                f"the loss of batch {len(figures.seconds)} is {figures.loss}: give ++trainer.precision=32-true, or a "
                "lower optim.optimizer.lr"
            )
        ended = trainer.global_step - self._first > figures.steps
        figures.steps = trainer.global_step - self._first
        enough = len(figures.seconds) >= BATCHES.get(kind, 2) and figures.steps >= STEPS.get(kind, 1)
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
        self.figures.validation = (time.monotonic() - self._start, len(batch.images))

    def on_fit_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Notes the peak of memory."""
        self.figures.peak, self.figures.reserved = _peak(module.device)


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


def shortened(cfg: DictConfig, folder: Path, instead: dict[str, Any]) -> DictConfig:
    """A configuration whose run is over after a few steps, in another folder, and else the same.

    Precision, clipping, strategy, batches, transforms, optimiser, schedule and planned length stay as they are.

    Args:
        cfg: conf/train.yaml.
        folder: to write to.
        instead: keys of ``trainer`` that this machine needs.
    """
    short = cfg.copy()
    OmegaConf.set_struct(short, False)
    short.output = str(folder)
    short.trainer.update({"limit_val_batches": 1, "check_val_every_n_epoch": 1, "log_every_n_steps": 1, **instead})
    short.trainer.enable_progress_bar = False  # among the report's lines
    for key in ("val_check_interval", "min_epochs", "min_steps"):
        short.trainer.pop(key, None)
    short.checkpoint_every = 1
    short.probes.every, short.probes.limit = None, 1
    for logger in (short.logger or {}).values():
        if "offline" in logger:  # a wandb run that is removed with the folder
            logger.offline, logger.settings.silent = True, True
    return short


def take_steps(
    cfg: DictConfig, data: Any, module: Any, resume: Path | None, checklist: Checklist
) -> StepFigures | None:
    """Trains a shortened configuration, and reads its checkpoints back.

    Args:
        cfg: see :func:`shortened`.
        data: the data module, set up.
        module: built from the configuration.
        resume: checkpoint to resume from.
        checklist: takes a result for step, validation and checkpoints.

    Returns:
        What was measured; ``None`` where the training stopped with an error.
    """
    from opsnet.train import build_trainer, fit

    watch, folder = Watch(), Path(cfg.output)
    try:
        trainer = build_trainer(cfg, folder, resume)
        plan_steps(cfg, trainer, data)
        trainer.callbacks.append(watch)
        fit(trainer, module, data, resume)
    except torch.OutOfMemoryError as error:
        checklist.fail("optimiser step", f"memory is too small ({_line(error)}): {_smaller(cfg)}")
        return None
    except InputError as error:
        checklist.fail("optimiser step", str(error))
        return None
    except Exception as error:
        done = watch.figures.steps
        where = "optimiser step" if not done else "validation or checkpoint"
        told = f"the training stops after {done} steps with {type(error).__name__}: {_line(error)}"
        checklist.crash(where, f"{told} (traceback below)", error)
        return None
    figures = watch.figures
    if not figures.steps:
        checklist.ok("optimiser step", "the checkpoint to resume from is the end of the training: nothing to do")
        return None
    _judge(figures, watch.unused, trainer, checklist)
    if trainer.is_global_zero:  # the folder is gone before another process has read it
        read_back(folder / "checkpoints", module, checklist)
    return figures


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:400]


def _smaller(cfg: DictConfig) -> str:
    most = cfg.data.module.get("device_batch_size") or cfg.data.module.batch_size
    if most > 1:
        return f"give ++data.module.device_batch_size={most // 2}"
    return "give ++backbone.checkpointing=true, or ++data.module.train.transform.size=640"


def _judge(figures: StepFigures, unused: list[str], trainer: L.Trainer, checklist: Checklist) -> None:
    check, count = "optimiser step", figures.steps
    taken = f"{count} taken in {figures.precision}, of {len(figures.seconds)} batches, loss {figures.loss:.3f}"
    checklist.ok(check, taken)
    if unused:
        checklist.doubt(
            check,
            f"no loss reaches {len(unused)} parameters (the first is {unused[0]}): with several GPUs give "
            "++trainer.strategy=ddp_find_unused_parameters_true",
        )
    pq = trainer.callback_metrics.get("val/PQ")
    if pq is not None:
        checklist.ok("validation", f"a batch of {figures.validation[1]}, val/PQ logged")
    elif trainer.num_val_batches:
        checklist.fail(
            "validation", "val/PQ was not logged, so best.ckpt would never be written: check data.module.val"
        )


def read_back(folder: Path, module: Any, checklist: Checklist) -> None:
    """Reads the checkpoint that a run wrote, and compares every weight with the network's.

    Args:
        folder: with ``last.ckpt``.
        module: the LightningModule that was trained.
        checklist: takes the result.
    """
    path = folder / "last.ckpt"
    if not path.is_file():
        checklist.fail("checkpoint", f"{path.name} was not written: check checkpoint_every")
        return
    start = time.monotonic()
    state = torch.load(path, map_location="cpu", weights_only=True)
    own = {k: v for k, v in module.state_dict().items() if not k.startswith(FROZEN_PREFIXES)}
    wrong = sorted(own.keys() ^ state["state_dict"].keys())
    wrong += [k for k in own if k in state["state_dict"] and not torch.equal(own[k].cpu(), state["state_dict"][k])]
    if wrong or not state["optimizer_states"]:
        checklist.fail("checkpoint", f"{path.name} does not hold what was trained: {(wrong or ['no optimiser'])[0]}")
        return
    size, seconds = path.stat().st_size / 2**30, time.monotonic() - start
    checklist.ok(
        "checkpoint", f"written, read back in {seconds:.1f} s and the same: {len(own)} tensors, {size:.2f} GiB"
    )
