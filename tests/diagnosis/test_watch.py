"""What is measured of the first steps, and when they end."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from opsnet.diagnosis.watch import StepMeasurements
from opsnet.training.module import OPSNetModule


def test_the_first_batch_is_not_timed_unless_it_is_alone() -> None:
    assert StepMeasurements(seconds=[9.0, 1.0, 2.0]).seconds_per_batch == 1.5
    assert StepMeasurements(seconds=[9.0]).seconds_per_batch == 9.0
    assert math.isnan(StepMeasurements().seconds_per_batch)


@pytest.mark.parametrize(("overrides", "steps"), [
    (["trainer.max_epochs=-1", "trainer.max_steps=80000"], 80_000),
    (["trainer.max_steps=5"], 5),
    (["++trainer.limit_train_batches=0.5"], 2 * 2),
])  # fmt: skip
def test_the_planned_length_is_lightnings(overrides: list[str], steps: int, taken) -> None:
    figures, checklist, prepared = taken(*overrides)
    assert not checklist.of("failure")
    assert figures.planned == steps
    assert prepared.plan.steps == steps


def test_two_steps_a_validation_and_a_checkpoint(taken) -> None:
    figures, checklist, _ = taken("trainer.check_val_every_n_epoch=4", "checkpoint_every=9")
    assert len(figures.seconds) == figures.steps == 2
    assert figures.seconds_per_batch == figures.seconds[1] > 0
    assert figures.validation[0] > 0
    assert figures.validation[1] == 8
    assert figures.peak > 2**20
    assert figures.device == "cpu"
    assert [r.check for r in checklist.of("ok")] == ["optimizer step", "validation", "checkpoint"]
    assert f"loss {figures.loss:.3f}" in checklist.of("ok")[0].sentence


def test_a_step_of_several_batches_is_one_step(taken, monkeypatch) -> None:
    batches = []
    step = OPSNetModule.training_step
    monkeypatch.setattr(OPSNetModule, "training_step", lambda *given: batches.append(1) or step(*given))
    figures, _, prepared = taken("++data.module.device_batch_size=3")
    assert len(batches) == len(figures.seconds) == 4  # 8 images per step by at most 3, so by 2
    assert figures.steps == 1
    assert figures.planned == prepared.plan.steps == 4 * 2


def test_a_loss_that_is_no_number(taken, monkeypatch) -> None:
    step = OPSNetModule.training_step
    monkeypatch.setattr(OPSNetModule, "training_step", lambda self, batch, i: step(self, batch, i) * float("nan"))
    sentence = taken()[1].of("failure")[0].sentence
    assert "step 0: the loss is not finite" in sentence
    assert "lower optim.optimizer.lr or trainer.precision=32-true" in sentence


def test_parameters_without_gradient_get_a_warning(taken) -> None:
    def more(module: Any) -> None:
        module.model.unused = torch.nn.Linear(2, 2)

    _, checklist, _ = taken(change=more)
    assert "2 parameters receive no gradient (the first is model.unused.weight)" in checklist.of("warning")[0].sentence
