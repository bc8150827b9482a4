"""Progress lines with a clock set by the test, and in a whole run whose output is not a terminal."""

from __future__ import annotations

import logging
import re
from types import SimpleNamespace

import pytest
import rich
from lightning.pytorch.callbacks import RichProgressBar

from opsnet.training.callbacks import ProgressLines
from opsnet.training.run import build_trainer, train


class Run:
    """A training whose steps are made by the test; each has four images in two accumulated batches."""

    def __init__(self, total: float, *, step: int = 0, rank: int = 0) -> None:
        self.now = 100.0
        self.callback = ProgressLines(every=30, clock=lambda: self.now)
        self.trainer = SimpleNamespace(
            global_step=step,
            is_global_zero=rank == 0,
            estimated_stepping_batches=total,
            callback_metrics={"train/loss": 1.5},
            datamodule=SimpleNamespace(batch_totals={"batch_size": 3, "label_batch_size": 1}),
        )
        self.callback.on_train_start(self.trainer, None)

    def step(self, seconds: float) -> None:
        for taken in (0, 1):
            self.now += seconds / 2
            self.trainer.global_step += taken
            self.callback.on_train_batch_end(self.trainer, None, None, None, 0)

    def validate(self, seconds: float) -> None:
        self.callback.on_validation_start(self.trainer, None)
        self.now += seconds
        self.callback.on_validation_end(self.trainer, None)


@pytest.fixture(autouse=True)
def lines(caplog):
    caplog.set_level(logging.INFO, logger="opsnet.training.callbacks.progress_lines")
    return lambda: [record.getMessage() for record in caplog.records]


def test_a_line_after_the_first_step_and_then_once_per_interval(lines) -> None:
    run = Run(total=100)
    for _ in range(10):
        run.step(8)
    assert lines() == [
        "step 1 of 100, loss 1.500, 0.5 images/s, 0:13:12 left",
        "step 5 of 100, loss 1.500, 0.5 images/s, 0:12:40 left",
        "step 9 of 100, loss 1.500, 0.5 images/s, 0:12:08 left",
    ]


def test_validations_count_only_for_the_remaining_time(lines) -> None:
    run = Run(total=4)
    run.step(10)
    run.validate(100)
    run.step(40)
    assert lines()[1] == "step 2 of 4, loss 1.500, 0.1 images/s, 0:02:30 left"


def test_a_resumed_run_counts_from_its_start(lines) -> None:
    run = Run(total=50, step=40)
    run.step(2)
    assert lines() == ["step 41 of 50, loss 1.500, 2 images/s, 0:00:18 left"]


def test_one_process_logs_and_the_number_of_steps_may_be_unlimited(lines) -> None:
    Run(total=4, rank=1).step(10)
    Run(total=float("inf")).step(10)
    assert lines() == ["step 1 of inf, loss 1.500, 0.4 images/s, no end set"]


def test_a_run_without_a_terminal_logs_its_progress(train_config, tmp_path, lines) -> None:
    train(train_config(tmp_path / "run", "trainer.enable_progress_bar=true", "progress_every=0"))
    assert len(lines()) == 8
    assert re.fullmatch(r"step 8 of 8, loss [\d.]+, [\d.e+]+ images/s, 0:00:00 left", lines()[-1])


@pytest.mark.parametrize(("terminal", "wanted", "kind"), [
    (True, True, RichProgressBar), (False, True, ProgressLines), (True, False, None), (False, False, None),
])  # fmt: skip
def test_the_bar_is_for_terminals(terminal, wanted, kind, train_config, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(rich, "get_console", lambda: SimpleNamespace(is_terminal=terminal))
    trainer = build_trainer(train_config(tmp_path, f"trainer.enable_progress_bar={wanted}"), tmp_path)
    shown = [type(c) for c in trainer.callbacks if isinstance(c, (RichProgressBar, ProgressLines))]
    assert shown == ([kind] if kind else [])
