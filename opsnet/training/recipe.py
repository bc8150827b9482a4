"""How long a training is and how many images and which learning rate a step has, whatever the trainer and devices."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig

from opsnet.data.sharing import batch_share


@dataclass(frozen=True)
class StepPlan:
    """The optimiser steps of a training.

    Attributes:
        totals: images of a step in total, by key of ``data.module``; two keys where there are image labels.
        devices: processes, on all nodes.
        accumulate: batches of a device in a step, one after the other.
        lr: learning rate, of everything but the backbone.
        steps: of the whole training.
        reference: ``images`` a step and ``lr`` of the recipe that ``optim`` follows, if it names one.
    """

    totals: Mapping[str, int]
    devices: int
    accumulate: int
    lr: float
    steps: int
    reference: Mapping[str, float] | None = None

    @property
    def images(self) -> int:
        """Images of a step, of all kinds."""
        return sum(self.totals.values())

    def sentence(self) -> str:
        """What is planned."""
        parts = self.devices * self.accumulate
        totals, shares = (" + ".join(str(count // n) for count in self.totals.values()) for n in (1, parts))
        devices = f"{self.devices} device{'s' * (self.devices > 1)} x {shares}"
        batches = f" x {self.accumulate} accumulated batches" if self.accumulate > 1 else ""
        return f"{self.steps:,} steps of {totals} images ({devices}{batches}), learning rate {self.lr:g}"

    def doubt(self) -> str | None:
        """A sentence where batch and learning rate do not belong together.

        For another batch than the recipe's, anything between the square root of their ratio, which is usual for AdamW,
        and the ratio itself is taken for meant.
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
        mended = f"set optim.optimizer.lr={lr * ratio:.3g}"
        if ratio != 1:
            mended += f", or {sizes} (a device takes data.module.device_batch_size of them at once, the rest in turn)"
        return (
            f"{self.images} images a step at learning rate {self.lr:g} are not the recipe of optim, which has "
            f"{images:g} at {lr:g}: {mended}"
        )


def plan_steps(cfg: DictConfig, trainer: Any, data: Any) -> StepPlan:
    """Shares the images of a step among the trainer's devices and, where ``trainer.accumulate_grad_batches`` does not
    say how many, among as few batches as ``data.module.device_batch_size`` allows; the trainer is told.

    Args:
        cfg: conf/train.yaml.
        trainer: Lightning's, not started yet.
        data: the data module, set up.

    Raises:
        DatasetError: the images cannot be shared equally.
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
    """Optimiser steps of the training, of which an epoch has ``epoch`` where nothing makes it shorter."""
    limit = trainer.limit_train_batches
    batches = epoch * trainer.accumulate_grad_batches
    batches = min(batches, limit) if isinstance(limit, int) else int(batches * limit)
    bounds = []
    if trainer.max_epochs != -1:
        bounds.append(trainer.max_epochs * math.ceil(batches / trainer.accumulate_grad_batches))
    if trainer.max_steps != -1:
        bounds.append(trainer.max_steps)
    return min(bounds, default=0)
