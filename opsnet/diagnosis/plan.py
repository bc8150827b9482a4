"""The devices that a run requests, and its steps, total batch size and learning rate on them."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from omegaconf import DictConfig, OmegaConf

from opsnet.diagnosis.checklist import Checklist
from opsnet.training.recipe import StepPlan, plan_steps


@dataclass(frozen=True)
class Devices:
    """The devices requested by ``trainer``, and how to run on this machine.

    Attributes:
        kind: ``cpu`` or ``gpu``.
        per_node: processes per machine; 0 if it cannot be determined.
        nodes: number of machines.
        instead: keys of ``trainer`` with which the rehearsal runs on this machine if requested devices are missing.
    """

    kind: str
    per_node: int
    nodes: int
    instead: Mapping[str, Any]

    @property
    def processes(self) -> int:
        """Total number of processes, at least 1."""
        return max(1, self.per_node) * self.nodes


def check_devices(trainer: DictConfig, checklist: Checklist) -> Devices:
    """Compares the requested devices with those of this machine.

    Args:
        trainer: conf/trainer.
        checklist: receives a failure if devices are missing.
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
        checklist.warn("devices", f"only one of {nodes} machines is rehearsed: start a short run on all of them too")
    if wants_gpu and (asked > there or not there):
        checklist.fail(
            "devices",
            f"trainer.devices={devices} (trainer.accelerator={accelerator}) requests {max(asked, 1)} GPUs but this "
            f"machine has {there}: run on a machine that has them, or give trainer.devices={max(there, 1)}"
            + ("" if there else " trainer.accelerator=cpu"),
        )
        one = {"devices": 1, "strategy": "auto", "accelerator": "gpu" if there else "cpu"}
        return Devices("gpu", asked, nodes, {**instead, **one})
    name = torch.cuda.get_device_name() if wants_gpu else f"CPU, {torch.get_num_threads()} threads"
    checklist.ok("devices", f"{max(asked, 1)} x {name}")
    return Devices("gpu" if wants_gpu else "cpu", max(asked, 1), nodes, instead)


def _count(devices: Any, there: int) -> int:
    """The number of devices that ``trainer.devices`` denotes, in any of Lightning's notations."""
    if OmegaConf.is_list(devices) or isinstance(devices, (list, tuple)):
        return len(devices)
    text = str(devices)
    if text in ("-1", "auto"):
        return there if text == "-1" else max(there, 1)
    return len([part for part in text.split(",") if part.strip()]) if "," in text else int(text)


@dataclass
class _AskedTrainer:
    """The Trainer attributes that :func:`~opsnet.training.recipe.plan_steps` reads; a Trainer needs its devices."""

    num_devices: int
    num_nodes: int
    max_epochs: int
    max_steps: int
    limit_train_batches: int | float
    accumulate_grad_batches: int = 1


def plan_run(cfg: DictConfig, devices: Devices, data: Any, images: int, checklist: Checklist) -> StepPlan | None:
    """The training's plan on the requested devices; warns if batch size and learning rate do not match.

    Args:
        cfg: conf/train.yaml.
        devices: the requested devices.
        data: the data module.
        images: images in the training set; 0 if it could not be read: the plan then has no epochs.
        checklist: receives the results.

    Returns:
        ``None`` if the images of a step cannot be split over the devices.
    """
    trainer = cfg.trainer
    max_epochs, max_steps = trainer.get("max_epochs"), trainer.get("max_steps", -1)
    if max_epochs is None:  # as Lightning reads it
        max_epochs = 1000 if max_steps == -1 else -1
    limit = trainer.get("limit_train_batches")
    asked = _AskedTrainer(
        max(1, devices.per_node), devices.nodes, max_epochs, max_steps, 1.0 if limit is None else limit
    )
    sized = SimpleNamespace(
        batch_totals=data.batch_totals, batches_per_step=data.batches_per_step, datasets={"train": range(images)}
    )
    plan = None
    with checklist.failing("total batch"):
        plan = plan_steps(cfg, asked, sized)
        if images and images < plan.totals["batch_size"]:
            checklist.fail(
                "steps",
                f"{images} training images are fewer than the {plan.totals['batch_size']} of one step: give "
                f"data.module.batch_size={images}",
            )
        elif images and not plan.steps:
            checklist.fail("steps", "the training has no end: give optim.max_epochs or optim.max_steps")
        elif warning := plan.warning():
            checklist.warn("learning rate", warning)
        else:
            checklist.ok("learning rate", f"{plan.lr:g} for {plan.images} images per step")
    return plan


def warmup_of(cfg: DictConfig) -> int:
    """Steps until the full learning rate; 0 for a schedule without warm-up."""
    from hydra.utils import instantiate

    parameter = inspect.signature(instantiate(cfg.optim.scheduler)).parameters.get("warmup")
    return 0 if parameter is None or parameter.default is parameter.empty else int(parameter.default)
