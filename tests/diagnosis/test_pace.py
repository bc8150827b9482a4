"""The time of a whole training from its first batches, and warnings about workers and memory."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest
import torch

from opsnet.diagnosis.checklist import Checklist
from opsnet.diagnosis.pace import Estimate, check_loading, check_memory, epochs, estimate
from opsnet.diagnosis.plan import Devices
from opsnet.diagnosis.watch import StepMeasurements
from opsnet.training.recipe import StepPlan

PLAN = StepPlan({"batch_size": 10}, devices=5, accumulate=2, lr=1e-4, steps=400)
FIGURES = StepMeasurements(seconds=[9.0, 0.4, 0.6], validation=(0.6, 2), peak=3 * 2**30, device="cuda:0")


def estimated(**changed: object) -> Estimate:
    given = {"loading": 0.8, "workers": 4, "images": 1000, "validation_images": 100, "check_every": 2}
    return estimate(PLAN, FIGURES, **{**given, **changed})


def test_steps_and_validations_are_added_up() -> None:
    found = estimated()
    assert found.training == pytest.approx(400 * 2 * 0.5)
    assert found.validation == pytest.approx(2 * 100 * 0.3 / 5)  # twice, shared by five processes
    assert found.seconds == found.training + found.validation
    assert not found.waits


def test_slow_reading_sets_the_pace() -> None:
    found = estimated(workers=1)
    assert found.training == pytest.approx(400 * 2 * 0.8)
    assert found.waits


def test_without_workers_reading_comes_on_top() -> None:
    assert estimated(workers=0).training == pytest.approx(400 * 2 * 1.3)


def test_epochs_are_passes_over_the_set() -> None:
    assert epochs(PLAN, 1000) == 4.0


@pytest.mark.parametrize(("waits", "workers", "processes", "words"), [
    (False, 2, 1, None),
    (True, 2, 1, "0.80 s per batch with one worker, so the steps wait for images: raise data.module.num_workers"),
    (False, 4, 8, "32 workers share 8 cores: give ++data.module.num_workers=1"),
    (False, 9, 2, "18 workers share 8 cores: give ++data.module.num_workers=4"),
])  # fmt: skip
def test_workers_that_are_too_few_or_too_many(waits, workers, processes, words, monkeypatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    checklist = Checklist()
    check_loading(Estimate(1.0, 1.0, waits), 0.8, workers, Devices("gpu", processes, 1, {}), checklist)
    assert [result.sentence for result in checklist.of("warning")] == ([words] if words else [])


@pytest.mark.parametrize(("reserved", "warnings"), [(91, 1), (90, 0), (0, 0)])
def test_a_gpu_that_is_nearly_full(reserved: int, warnings: int, monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(total_memory=100))
    checklist = Checklist()
    check_memory(StepMeasurements(reserved=reserved, device="cuda:0"), checklist)
    assert len(checklist.of("warning")) == warnings
