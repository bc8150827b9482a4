"""Devices, total batch, learning rate and length, from configurations of the paper's rows."""

from __future__ import annotations

import re

import pytest
import torch
from omegaconf import OmegaConf

from opsnet.diagnosis.checklist import Checklist
from opsnet.diagnosis.plan import Devices, check_devices, plan_run, warmup_of
from opsnet.training.recipe import StepPlan


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch):
    """(number of GPUs) -> a machine that seems to have them."""

    def with_gpus(count: int) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda *_: "a GPU")

    return with_gpus


def devices(**trainer: object) -> tuple[Devices, Checklist]:
    checklist = Checklist()
    return check_devices(OmegaConf.create(trainer), checklist), checklist


@pytest.mark.parametrize(
    ("there", "asked", "processes"),
    [
        (0, {"devices": 1}, 1),
        (0, {"devices": 2, "accelerator": "cpu"}, 2),
        (8, {"devices": 8}, 8),
        (8, {"devices": -1}, 8),
        (8, {"devices": "auto"}, 8),
        (8, {"devices": [0, 3]}, 2),
        (8, {"devices": "0,3"}, 2),
        (8, {"devices": "2"}, 2),
        (8, {}, 8),
        (0, {}, 1),
    ],
)
def test_devices_that_are_there(there: int, asked: dict[str, object], processes: int, machine) -> None:
    machine(there)
    found, checklist = devices(**asked)
    assert found.processes == processes
    assert not found.instead
    assert not checklist.of("failure")


@pytest.mark.parametrize(
    ("there", "asked"),
    [
        (0, {"devices": 8}),
        (0, {"devices": -1}),
        (0, {"devices": 1, "accelerator": "gpu"}),
        (2, {"devices": 8}),
    ],
)
def test_devices_that_are_missing_are_a_failure_and_one_is_rehearsed(there: int, asked, machine) -> None:
    machine(there)
    found, checklist = devices(**asked)
    (failure,) = checklist.of("failure")
    assert f"this machine has {there}" in failure.sentence
    assert f"give trainer.devices={max(there, 1)}" in failure.sentence
    assert found.instead == {"devices": 1, "strategy": "auto", "accelerator": "gpu" if there else "cpu"}


def test_one_machine_of_several_is_rehearsed(machine) -> None:
    machine(8)
    found, checklist = devices(devices=8, num_nodes=4)
    assert found.processes == 32
    assert found.instead == {"num_nodes": 1}
    assert "one of 4 machines" in checklist.of("warning")[0].sentence


def planned(cfg, processes: int = 1, images: int = 118_287) -> tuple[StepPlan | None, Checklist]:
    from hydra.utils import instantiate

    checklist = Checklist()
    data = instantiate(cfg.data.module, _convert_="object")
    return plan_run(cfg, Devices("gpu", processes, 1, {}), data, images, checklist), checklist


@pytest.fixture
def real(compose, tmp_path):
    """(overrides) -> the configuration of opsnet_r50 at full size."""
    return lambda *overrides: compose("train", "experiment=opsnet_r50", f"output={tmp_path}", *overrides)


@pytest.mark.parametrize(("processes", "batches"), [(1, 8), (2, 4), (8, 1)])
def test_the_plan_of_a_row_is_the_trainings_own(processes: int, batches: int, real) -> None:
    plan, checklist = planned(real(), processes)
    assert (plan.images, plan.devices, plan.accumulate, plan.lr) == (16, processes, batches, 1e-4)
    assert plan.steps == 50 * (118_287 // 16)
    assert [result.check for result in checklist.of("ok")] == ["learning rate"]
    assert warmup_of(real()) == 0
    assert warmup_of(real("+optim.scheduler.warmup=1000")) == 1000


def test_a_batch_that_does_not_fit_the_learning_rate_gets_a_warning(real) -> None:
    (warning,) = planned(real("data.module.batch_size=2"))[1].of("warning")
    assert warning.check == "learning rate"
    assert "2 images per step at learning rate 0.0001" in warning.sentence
    for fix in re.findall(r"[\w.]+=[^\s,]+", warning.sentence):
        assert not planned(real("data.module.batch_size=2", fix))[1].of("warning")


def test_the_plan_needs_no_data(real) -> None:
    plan, checklist = planned(real("data.module.batch_size=2"), images=0)
    assert plan.images == 2
    assert plan.steps == 0
    assert [result.check for result in checklist.results] == ["learning rate"]


@pytest.mark.parametrize(("overrides", "images", "words"), [
    (["trainer.devices=3"], 100, "cannot be split equally over 3 devices"),
    ([], 3, "3 training images are fewer than the 16 of one step: give data.module.batch_size=3"),
    (["optim.max_epochs=-1"], 100, "the training has no end: give optim.max_epochs"),
])  # fmt: skip
def test_a_plan_that_would_stop_the_training(overrides: list[str], images: int, words: str, real) -> None:
    cfg = real(*overrides)
    _, checklist = planned(cfg, cfg.trainer.devices, images)
    assert words in checklist.of("failure")[0].sentence
