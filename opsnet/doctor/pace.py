"""How long a training takes and whether its memory and its reading keep up, by the batches that were measured."""

from __future__ import annotations

import os
from dataclasses import dataclass

from opsnet.doctor.checklist import Checklist
from opsnet.doctor.plan import Devices
from opsnet.doctor.watch import StepMeasurements
from opsnet.training.recipe import StepPlan

FULL = 0.9
"""Share of a GPU's memory from which it is doubted: other batches have more segments."""


@dataclass(frozen=True)
class Estimate:
    """How long a training takes.

    Attributes:
        training, validation: seconds of the whole run.
        waits: whether reading the images takes longer than the steps.
    """

    training: float
    validation: float
    waits: bool

    @property
    def seconds(self) -> float:
        """Of both."""
        return self.training + self.validation


def estimate(
    plan: StepPlan,
    measured: StepMeasurements,
    *,
    loading: float,
    workers: int,
    images: int,
    validation_images: int,
    check_every: int,
) -> Estimate:
    """Extends the measured batches to the whole training, on the devices that were asked for.

    Args:
        plan: of the training.
        measured: measured.
        loading: seconds that one worker takes for a batch.
        workers: that load at the same time; 0: the training process loads itself.
        images: of the training set.
        validation_images: of the validation set.
        check_every: epochs between two validations.
    """
    batch, reading = measured.seconds_per_batch, loading / max(workers, 1)
    each = batch + reading if workers == 0 else max(batch, reading)
    seconds, count = measured.validation
    validations = int(epochs(plan, images)) // max(check_every, 1)
    per_process = seconds / max(count, 1) / plan.devices
    return Estimate(
        training=plan.steps * plan.accumulate * each,
        validation=validations * validation_images * per_process,
        waits=workers > 0 and reading > batch,
    )


def epochs(plan: StepPlan, images: int) -> float:
    """Passes over a training set of so many images."""
    return plan.steps * plan.totals["batch_size"] / max(images, 1)


def check_loading(estimated: Estimate, seconds: float, workers: int, devices: Devices, checklist: Checklist) -> None:
    """Doubts workers that are more than the cores, or too few for the steps.

    Args:
        estimated: of the training.
        seconds: that one worker takes for a batch.
        workers: of each process.
        devices: asked for.
        checklist: takes the result.
    """
    check, processes, cores = "data loading", max(1, devices.per_node), os.cpu_count() or 1
    told = f"{seconds:.2f} s a batch with one worker"
    if workers * processes > cores:
        fix = f"give ++data.module.num_workers={max(1, cores // processes)}"
        checklist.warn(check, f"{workers * processes} workers share {cores} cores: {fix}")
    elif estimated.waits:
        checklist.warn(check, f"{told}, so the steps wait for images: raise data.module.num_workers")
    else:
        checklist.ok(check, told)


def check_memory(measured: StepMeasurements, checklist: Checklist) -> None:
    """Doubts a GPU that is nearly full.

    Args:
        measured: measured.
        checklist: takes the doubt.
    """
    import torch

    if not measured.reserved:
        return
    total = torch.cuda.get_device_properties(torch.device(measured.device)).total_memory
    if measured.reserved > FULL * total:
        checklist.warn(
            "memory",
            f"{measured.reserved / total:.0%} of the GPU is taken, and other batches have more segments: give "
            "data.module.device_batch_size=1",
        )
