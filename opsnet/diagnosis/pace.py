"""Estimates the duration of a training from the measured batches, and checks data loading and memory."""

from __future__ import annotations

import os
from dataclasses import dataclass

from opsnet.diagnosis.checklist import Checklist
from opsnet.diagnosis.plan import Devices
from opsnet.diagnosis.watch import StepMeasurements
from opsnet.training.recipe import StepPlan

FULL = 0.9
"""Share of a GPU's memory above which a warning is given, because other batches may have more segments."""


@dataclass(frozen=True)
class Estimate:
    """The estimated duration of a training.

    Attributes:
        training, validation: seconds over the whole run.
        waits: whether loading the images takes longer than the steps.
    """

    training: float
    validation: float
    waits: bool

    @property
    def seconds(self) -> float:
        """Total of both."""
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
    """Extrapolates the measured batches to the whole training, on the requested devices.

    Args:
        plan: the training's plan.
        measured: measurements of the steps.
        loading: seconds per batch for one worker.
        workers: number of workers; 0: the training process loads the data itself.
        images: images in the training set.
        validation_images: images in the validation set.
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
    """The number of epochs over a training set of ``images`` images."""
    return plan.steps * plan.totals["batch_size"] / max(images, 1)


def check_loading(estimated: Estimate, seconds: float, workers: int, devices: Devices, checklist: Checklist) -> None:
    """Warns if there are more workers than cores, or too few for the steps.

    Args:
        estimated: estimate of the training.
        seconds: seconds per batch for one worker.
        workers: workers per process.
        devices: the requested devices.
        checklist: receives the result.
    """
    check, processes, cores = "data loading", max(1, devices.per_node), os.cpu_count() or 1
    summary = f"{seconds:.2f} s per batch with one worker"
    if workers * processes > cores:
        fix = f"give ++data.module.num_workers={max(1, cores // processes)}"
        checklist.warn(check, f"{workers * processes} workers share {cores} cores: {fix}")
    elif estimated.waits:
        checklist.warn(check, f"{summary}, so the steps wait for images: raise data.module.num_workers")
    else:
        checklist.ok(check, summary)


def check_memory(measured: StepMeasurements, checklist: Checklist) -> None:
    """Warns if a GPU is nearly full.

    Args:
        measured: measurements of the steps.
        checklist: receives the warning.
    """
    import torch

    if not measured.reserved:
        return
    total = torch.cuda.get_device_properties(torch.device(measured.device)).total_memory
    if measured.reserved > FULL * total:
        checklist.warn(
            "memory",
            f"{measured.reserved / total:.0%} of the GPU memory is used, and others may have more segments: give "
            "data.module.device_batch_size=1",
        )
