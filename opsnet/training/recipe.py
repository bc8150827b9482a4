"""Plans the optimizer steps: images per step, steps and learning rate, independent of trainer and devices."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig

from opsnet.data.sharing import batch_share


@dataclass(frozen=True)
class StepPlan:
    """The optimizer steps of a training.

    Attributes:
        totals: images per step over all devices, by key of ``data.module``; two keys if there are image labels.
        devices: number of processes on all nodes.
        accumulate: accumulated batches per device and step.
        lr: learning rate of everything except the backbone.
        steps: number of steps of the whole training.
        reference: ``images`` per step and ``lr`` of the recipe that ``optim`` follows, if it has one.
    """

    totals: Mapping[str, int]
    devices: int
    accumulate: int
    lr: float
    steps: int
    reference: Mapping[str, float] | None = None

    @property
    def images(self) -> int:
        """Images per step, of all kinds."""
        return sum(self.totals.values())

    def sentence(self) -> str:
        """The plan as one sentence."""
        parts = self.devices * self.accumulate
        totals, shares = (" + ".join(str(count // n) for count in self.totals.values()) for n in (1, parts))
        devices = f"{self.devices} device{'s' * (self.devices > 1)} x {shares}"
        batches = f" x {self.accumulate} accumulated batches" if self.accumulate > 1 else ""
        return f"{self.steps:,} steps of {totals} images ({devices}{batches}), learning rate {self.lr:g}"

    def warning(self) -> str | None:
        """A warning if batch size and learning rate do not match the recipe; ``None`` if they do.

        For another batch size than the recipe's, the learning rate may be scaled by anything from the square root of
        the ratio, which is usual for AdamW, to the ratio itself.
        """
        if self.reference is None:
            return None
        images, lr = self.reference["images"], self.reference["lr"]
        ratio = self.images / images
        low, high = sorted((lr * ratio, lr * math.sqrt(ratio)))
        if low * 0.99 <= self.lr <= high * 1.01:
            return None
        factor = images / self.images
        sizes = " ".join(f"data.module.{key}={round(total * factor)}" for key, total in self.totals.items())
        fix = f"set optim.optimizer.lr={lr * ratio:.3g}"
        if ratio != 1:
            fix += (
                f", or {sizes} (a device runs data.module.device_batch_size of them at once and accumulates the rest)"
            )
        return (
            f"{self.images} images per step at learning rate {self.lr:g} do not match the recipe of optim, which has "
            f"{images:g} at {lr:g}: {fix}"
        )


def plan_steps(cfg: DictConfig, trainer: Any, data: Any) -> StepPlan:
    """Divides the images of a step among the trainer's devices and accumulated batches.

    Unless ``trainer.accumulate_grad_batches`` sets their number, there are as few batches as
    ``data.module.device_batch_size`` allows; the trainer's attribute is updated.

    Args:
        cfg: conf/train.yaml.
        trainer: Lightning's trainer, not started yet.
        data: the data module, set up.

    Raises:
        DatasetError: the images cannot be divided equally.
    """
    devices = trainer.num_devices * trainer.num_nodes
    accumulate = cfg.trainer.get("accumulate_grad_batches") or data.batches_per_step(devices)
    for key, total in data.batch_totals.items():
        batch_share(key, total, devices, accumulate)
    trainer.accumulate_grad_batches = accumulate
    steps = _steps(trainer, len(data.datasets["train"]) // data.batch_totals["batch_size"])
    lr = cfg.optim.optimizer.get("lr", 1e-4)
    return StepPlan(data.batch_totals, devices, accumulate, lr, steps, cfg.optim.get("reference"))


def _steps(trainer: Any, epoch: int) -> int:
    """Optimizer steps of the training; an epoch has ``epoch`` steps unless the trainer limits it."""
    limit = trainer.limit_train_batches
    batches = epoch * trainer.accumulate_grad_batches
    batches = min(batches, limit) if isinstance(limit, int) else int(batches * limit)
    bounds = []
    if trainer.max_epochs != -1:
        bounds.append(trainer.max_epochs * math.ceil(batches / trainer.accumulate_grad_batches))
    if trainer.max_steps != -1:
        bounds.append(trainer.max_steps)
    return min(bounds, default=0)
