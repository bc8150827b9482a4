"""Devices, total batch, learning rate and length, from configurations of the paper's rows."""

from __future__ import annotations

import re

import pytest
import torch
from omegaconf import OmegaConf

from opsnet.rehearsal.checklist import Checklist
from opsnet.rehearsal.plan import Devices, Plan, check_devices, check_learning_rate, check_length, make_plan

ONE_GPU = Devices("gpu", 1, 1, {})


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
    assert "one of 4 machines" in checklist.of("doubt")[0].sentence


def test_the_plan_of_a_row(row7) -> None:
    plan = make_plan(row7(), Devices("gpu", 8, 1, {}), images=118_287)
    assert (plan.lr, plan.warmup, plan.max_epochs, plan.accumulate) == (1e-4, 0, 50, 16)
    assert plan.total_batch == 1 * 8 * 16
    assert plan.batches_per_epoch == 118_287 // 8
    assert plan.steps_per_epoch == 925  # 14,785 batches in groups of 16, the last of one
    assert plan.steps == 50 * 925


def test_both_kinds_of_images_count(compose, tmp_path) -> None:
    cfg = compose("train", "experiment=table3_row3", f"output={tmp_path}", "++optim.optimizer.lr=3e-4")
    plan = make_plan(cfg, ONE_GPU, images=118_287)
    assert plan.total_batch == 8 + 8
    assert plan.lr == 3e-4
    assert plan.steps == 80_000
    assert plan.epochs == pytest.approx(80_000 / (118_287 // 8))


def plan_of(total: int, lr: float, accumulate: int = 1) -> Plan:
    return Plan(1000, total // accumulate, 0, 1, accumulate, lr, 0, 1, -1)


@pytest.mark.parametrize(("total", "lr"), [(16, 1e-4), (64, 4e-4), (64, 2e-4), (64, 3e-4), (2, 1.25e-5), (2, 3.5e-5)])
def test_a_learning_rate_between_the_two_rules(total: int, lr: float) -> None:
    checklist = Checklist()
    check_learning_rate(plan_of(total, lr), checklist)
    assert not checklist.of("doubt")


@pytest.mark.parametrize(("total", "lr", "fix"), [
    (2, 1e-4, "++trainer.accumulate_grad_batches=8, or ++optim.optimizer.lr=1.25e-05"),
    (64, 1e-4, "give ++optim.optimizer.lr=0.0004"),
    (16, 1e-3, "give ++optim.optimizer.lr=0.0001"),
    (6, 1e-4, "give ++optim.optimizer.lr=3.75e-05"),
])  # fmt: skip
def test_a_learning_rate_that_does_not_fit_the_batch(total: int, lr: float, fix: str) -> None:
    checklist = Checklist()
    check_learning_rate(plan_of(total, lr), checklist)
    (doubt,) = checklist.of("doubt")
    assert f"{total} images a step at a learning rate of {lr:g}" in doubt.sentence
    assert fix in doubt.sentence
    assert not checklist.of("failure")


def test_the_default_of_one_gpu_is_doubted_and_the_fix_removes_the_doubt(compose, tmp_path) -> None:
    def doubts(*overrides: str) -> list[str]:
        checklist = Checklist()
        cfg = compose("train", "experiment=table1_row7", f"output={tmp_path}", *overrides)
        check_learning_rate(make_plan(cfg, ONE_GPU, images=118_287), checklist)
        return [result.sentence for result in checklist.of("doubt")]

    (sentence,) = doubts()
    for fix in re.findall(r"\+\+\S+=[^\s,]+", sentence):
        assert doubts(fix) == []


@pytest.mark.parametrize(("plan", "fix"), [
    (Plan(3, 2, 0, 8, 1, 1e-4, 0, 50, -1), "3 training images make no batch of 2 x 8 processes"),
    (Plan(300, 2, 0, 8, 1, 1e-4, 0, -1, -1), "the training has no end"),
])  # fmt: skip
def test_a_training_without_a_step_or_an_end(plan: Plan, fix: str) -> None:
    checklist = Checklist()
    check_length(plan, checklist)
    assert fix in checklist.of("failure")[0].sentence
