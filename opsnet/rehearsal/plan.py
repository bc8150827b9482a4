"""How much a configured run trains, and on what: devices, total batch, learning rate, steps."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig, OmegaConf

from opsnet.rehearsal.checklist import Checklist

REFERENCE_BATCH, REFERENCE_LR = 16, 1e-4
"""Mask2Former's images a step and learning rate; the paper's too."""


@dataclass(frozen=True)
class Devices:
    """What ``trainer`` asks for, and what this machine gives.

    Attributes:
        kind: ``cpu`` or ``gpu``.
        per_node: processes of a machine; 0 where it cannot be told.
        nodes: machines.
        instead: keys of ``trainer`` that let the rehearsal run on this machine where what was asked for is not there.
    """

    kind: str
    per_node: int
    nodes: int
    instead: Mapping[str, Any]

    @property
    def processes(self) -> int:
        """Of all machines, at least 1."""
        return max(1, self.per_node) * self.nodes


def check_devices(trainer: DictConfig, checklist: Checklist) -> Devices:
    """Compares the devices asked for with those of this machine.

    Args:
        trainer: conf/trainer.
        checklist: takes a failure where devices are missing.
    """
    import torch

    there = torch.cuda.device_count() if torch.cuda.is_available() else 0
    accelerator, devices = str(trainer.get("accelerator", "auto")), trainer.get("devices", "auto")
    nodes = int(trainer.get("num_nodes", 1))
    on_gpu = accelerator in ("gpu", "cuda") or (accelerator == "auto" and there > 0)
    asked = _count(devices, there if on_gpu else 0)
    wants_gpu = on_gpu or (accelerator == "auto" and (asked > 1 or devices == -1))
    instead: dict[str, Any] = {"num_nodes": 1} if nodes > 1 else {}
    if nodes > 1:
        checklist.doubt("devices", f"only one of {nodes} machines is rehearsed: start a short run on all of them too")
    if wants_gpu and (asked > there or not there):
        checklist.fail(
            "devices",
            f"trainer.devices={devices} (trainer.accelerator={accelerator}) asks for {max(asked, 1)} GPUs and this "
            f"machine has {there}: run on a machine that has them, or give trainer.devices={max(there, 1)}"
            + ("" if there else " trainer.accelerator=cpu"),
        )
        one = {"devices": 1, "strategy": "auto", "accelerator": "gpu" if there else "cpu"}
        return Devices("gpu", asked, nodes, {**instead, **one})
    name = torch.cuda.get_device_name() if wants_gpu else f"CPU, {torch.get_num_threads()} threads"
    checklist.ok("devices", f"{max(asked, 1)} x {name}")
    return Devices("gpu" if wants_gpu else "cpu", max(asked, 1), nodes, instead)


def _count(devices: Any, there: int) -> int:
    """How many devices ``trainer.devices`` means, in each of Lightning's ways to say it."""
    if OmegaConf.is_list(devices) or isinstance(devices, (list, tuple)):
        return len(devices)
    text = str(devices)
    if text in ("-1", "auto"):
        return there if text == "-1" else max(there, 1)
    return len([part for part in text.split(",") if part.strip()]) if "," in text else int(text)


@dataclass(frozen=True)
class Plan:
    """A training in numbers.

    Attributes:
        images: of the training set; 0 where it could not be read.
        batch_size: images with segments of a process and batch.
        label_batch_size: images with labels, in the same sense; 0 without such.
        processes: devices of all machines.
        accumulate: batches an optimiser step.
        lr: the optimiser's.
        warmup: steps until the full learning rate.
        max_epochs, max_steps: what ends the training, as Lightning has it: -1 is no end.
        limit: ``trainer.limit_train_batches``: a number of batches, or a share of the epoch.
    """

    images: int
    batch_size: int
    label_batch_size: int
    processes: int
    accumulate: int
    lr: float
    warmup: int
    max_epochs: int
    max_steps: int
    limit: int | float | None = None

    @property
    def total_batch(self) -> int:
        """Images of an optimiser step, over all devices and of both kinds."""
        return (self.batch_size + self.label_batch_size) * self.processes * self.accumulate

    @property
    def batches_per_epoch(self) -> int:
        """Of each process."""
        whole = self.images // (self.batch_size * self.processes)
        if isinstance(self.limit, float):
            return int(whole * self.limit)
        return whole if self.limit is None else min(whole, self.limit)

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps."""
        return math.ceil(self.batches_per_epoch / self.accumulate)

    @property
    def steps(self) -> int:
        """Optimiser steps of the whole training, as ``Trainer.estimated_stepping_batches`` counts them."""
        by_epochs = self.steps_per_epoch * max(self.max_epochs, 1)
        if self.max_epochs == -1:
            return self.max_steps
        return min(by_epochs, self.max_steps) if self.max_steps != -1 else by_epochs

    @property
    def epochs(self) -> float:
        """Passes over the training set."""
        return self.steps / max(self.steps_per_epoch, 1)


def make_plan(cfg: DictConfig, devices: Devices, images: int) -> Plan:
    """The plan of a configuration.

    Args:
        cfg: conf/train.yaml.
        devices: what it trains on.
        images: of the training set; 0 where it could not be read.
    """
    from hydra.utils import instantiate

    data, trainer = cfg.data.module, cfg.trainer
    labels = "labels" in data and data.labels is not None
    max_epochs, max_steps = trainer.get("max_epochs"), trainer.get("max_steps", -1)
    if max_epochs is None:  # as Lightning reads it
        max_epochs = 1000 if max_steps == -1 else -1
    optimizer, scheduler = instantiate(cfg.optim.optimizer), instantiate(cfg.optim.scheduler)
    return Plan(
        images=images,
        batch_size=data.batch_size,
        label_batch_size=(data.get("label_batch_size") or data.batch_size) if labels else 0,
        processes=devices.processes,
        accumulate=trainer.get("accumulate_grad_batches", 1),
        lr=float(_argument(optimizer, "lr", math.nan)),
        warmup=int(_argument(scheduler, "warmup", 0)),
        max_epochs=max_epochs,
        max_steps=max_steps,
        limit=trainer.get("limit_train_batches"),
    )


def _argument(builder: Any, name: str, missing: Any) -> Any:
    """What a partial will call its function with: the argument given, or the function's default."""
    parameter = inspect.signature(builder).parameters.get(name)
    return missing if parameter is None or parameter.default is parameter.empty else parameter.default


def check_learning_rate(plan: Plan, checklist: Checklist) -> None:
    """Doubts a learning rate that neither the linear nor the square-root rule gives for the total batch.

    Args:
        plan: of a full-size training.
        checklist: takes the doubt.
    """
    ratio = plan.total_batch / REFERENCE_BATCH
    low, high = sorted((REFERENCE_LR * ratio, REFERENCE_LR * math.sqrt(ratio)))
    told = f"{plan.total_batch} images a step at a learning rate of {plan.lr:g}"
    if 0.9 * low <= plan.lr <= 1.1 * high:
        checklist.ok("learning rate", told)
        return
    steps = REFERENCE_BATCH / (plan.total_batch / plan.accumulate)
    accumulate = f"++trainer.accumulate_grad_batches={steps:g}, or " if steps > 1 and steps.is_integer() else ""
    checklist.doubt(
        "learning rate",
        f"{told}, where Mask2Former has {REFERENCE_BATCH} at {REFERENCE_LR:g}: give {accumulate}"
        f"++optim.optimizer.lr={REFERENCE_LR * ratio:.3g} (linear rule)",
    )


def check_length(plan: Plan, checklist: Checklist) -> None:
    """Fails a training without a step or without an end.

    Args:
        plan: of a training whose set could be read.
        checklist: takes the failure.
    """
    if not plan.batches_per_epoch:
        checklist.fail(
            "steps",
            f"{plan.images} training images make no batch of {plan.batch_size} x {plan.processes} processes: lower "
            "data.module.batch_size or trainer.devices",
        )
    elif plan.steps < 0:
        checklist.fail("steps", "the training has no end: give trainer.max_epochs or trainer.max_steps")
