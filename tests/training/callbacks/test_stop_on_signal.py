"""A signal stops a training between two steps: when, with which code, and in which state."""

from __future__ import annotations

import signal
from pathlib import Path
from types import SimpleNamespace

import pytest
from lightning.pytorch.callbacks import Callback

from opsnet.training.callbacks.repeatable import InterruptCheckpoint
from opsnet.training.callbacks.stop_on_signal import StopOnSignal, stop_if_asked
from opsnet.training.csv_logger import read_rows
from opsnet.training.requeue import requeue
from opsnet.training.run import train
from opsnet.utils.stop_signals import STOP_SIGNALS, Stopped, set_handlers


@pytest.fixture
def handlers():
    """Restores the handlers of signals."""
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    yield
    set_handlers(before)


def make_trainer(others_stop: bool | None = None) -> SimpleNamespace:
    """A trainer of one process, or of two of which the other has received a signal or not."""
    strategy = SimpleNamespace(reduce_boolean_decision=lambda own, all: own or others_stop)
    return SimpleNamespace(world_size=1 if others_stop is None else 2, strategy=strategy, callbacks=[])


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_a_signal_stops_before_the_next_step_with_its_exit_code(number, handlers, caplog) -> None:
    callback = StopOnSignal()
    callback.on_train_start(None, None)
    callback.on_train_batch_start(make_trainer(), None, None, 0)
    signal.raise_signal(number)  # nothing happens within the step
    assert f"{number.name}: stopping after this step" in caplog.text
    with pytest.raises(Stopped) as stop:
        callback.on_train_batch_start(make_trainer(), None, None, 1)
    assert (stop.value.code, stop.value.number, stop.value.together) == (128 + number, number, False)


def test_only_a_second_ctrl_c_stops_at_once(handlers) -> None:
    callback = StopOnSignal()
    callback.on_train_start(None, None)
    signal.raise_signal(signal.SIGINT)
    signal.raise_signal(signal.SIGTERM)
    with pytest.raises(Stopped) as stop:
        signal.raise_signal(signal.SIGINT)
    assert stop.value.at_once


def test_schedulers_may_repeat_their_signals(handlers) -> None:
    callback = StopOnSignal()
    callback.on_train_start(None, None)
    for number in (signal.SIGUSR1, signal.SIGTERM, signal.SIGTERM, signal.SIGINT):
        signal.raise_signal(number)
    with pytest.raises(Stopped) as stop:
        callback.on_train_batch_start(make_trainer(), None, None, 0)
    assert stop.value.number == signal.SIGUSR1


def test_all_processes_stop_at_the_same_step(handlers) -> None:
    callback = StopOnSignal()
    callback.on_train_batch_start(make_trainer(others_stop=False), None, None, 0)
    with pytest.raises(Stopped) as stop:
        callback.on_train_batch_start(make_trainer(others_stop=True), None, None, 0)
    assert (stop.value.together, stop.value.code) == (True, 143)


def test_a_validation_and_its_probes_stop_too(handlers) -> None:
    callback, trainer = StopOnSignal(), make_trainer()
    trainer.callbacks = [callback]
    callback.on_train_start(None, None)
    callback.on_validation_batch_start(trainer, None, None, 0)
    stop_if_asked(trainer)
    signal.raise_signal(signal.SIGTERM)
    with pytest.raises(Stopped):
        callback.on_validation_batch_start(trainer, None, None, 1)
    with pytest.raises(Stopped):
        stop_if_asked(trainer)


@pytest.mark.parametrize(
    ("stop", "rank", "saves", "waits"),
    [
        (Stopped(signal.SIGTERM), 0, True, False),
        (Stopped(signal.SIGTERM), 1, False, False),
        (Stopped(signal.SIGTERM, together=True), 0, True, True),
        (Stopped(signal.SIGTERM, together=True), 1, False, True),
        (Stopped(signal.SIGINT, at_once=True), 0, False, False),  # perhaps within an update of the weights
    ],
)
def test_who_saves_and_who_waits(stop, rank, saves, waits, tmp_path, monkeypatch) -> None:
    done: list[str] = []
    monkeypatch.setattr(InterruptCheckpoint, "_save", lambda self, trainer: done.append("saved"))
    strategy = SimpleNamespace(barrier=lambda name: done.append("waited"))
    trainer = SimpleNamespace(is_global_zero=rank == 0, strategy=strategy)
    InterruptCheckpoint(folder=tmp_path).on_exception(trainer, None, stop)
    assert done == ["saved"] * saves + ["waited"] * waits


class PressCtrlC(Callback):
    """Ctrl-C between a step and the logging of its losses."""

    def on_train_batch_end(self, trainer, *rest) -> None:
        if trainer.global_step == 6:
            signal.raise_signal(signal.SIGINT)


def logged(folder: Path) -> list[tuple[str, str, str]]:
    """(step, name, value) of everything in metrics.csv."""
    rows = read_rows(folder / "metrics.csv")
    return sorted((row["step"], key, value) for row in rows for key, value in row.items() if key != "step" and value)


def test_no_row_is_lost_at_ctrl_c(trained, train_config, tmp_path, monkeypatch, handlers) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background process of a shell ignores it
    config = train_config(tmp_path / "run")
    with monkeypatch.context() as patch:
        patch.setattr("opsnet.training.callbacks.LogImages", PressCtrlC)
        with pytest.raises(KeyboardInterrupt):
            train(config)
    config.resume = "auto"
    assert train(config) == trained.metrics
    assert logged(tmp_path / "run") == logged(trained.folder)


# --- SLURM ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def scontrol(tmp_path, monkeypatch):
    """An ``scontrol`` that writes its arguments down, and the environment of a job started by srun."""
    said = tmp_path / "said"
    program = tmp_path / "bin" / "scontrol"
    program.parent.mkdir()
    fail = f"[ ! -e {tmp_path}/broken ] || {{ echo no such job >&2; exit 1; }}"
    program.write_text(f'#!/bin/sh\necho "$@" > {said}\n{fail}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/bin:/usr/bin")
    for name, value in {"SLURM_JOB_ID": "77", "SLURM_NTASKS": "1", "SLURM_JOB_NAME": "train"}.items():
        monkeypatch.setenv(name, value)
    return said


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGUSR2])
def test_a_warned_job_is_requeued(number, scontrol, monkeypatch, caplog) -> None:
    requeue(Stopped(number), resumes=True)
    assert scontrol.read_text() == "requeue 77\n"
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "70")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    requeue(Stopped(number), resumes=True)
    assert scontrol.read_text() == "requeue 70_3\n"
    assert "requeued SLURM job 70_3" in caplog.text


def test_a_job_that_would_start_from_scratch_is_not_requeued(scontrol, caplog) -> None:
    requeue(Stopped(signal.SIGUSR1), resumes=False)
    assert not scontrol.exists()
    assert "add resume=auto" in caplog.text


def test_no_other_job_is_requeued(scontrol, monkeypatch) -> None:
    requeue(Stopped(signal.SIGTERM), resumes=True)  # the scheduler itself decides after a preemption
    monkeypatch.setenv("SLURM_JOB_NAME", "interactive")
    requeue(Stopped(signal.SIGUSR1), resumes=True)
    monkeypatch.delenv("SLURM_JOB_ID")
    requeue(Stopped(signal.SIGUSR1), resumes=True)
    assert not scontrol.exists()


def test_a_failing_scontrol_is_told(scontrol, tmp_path, monkeypatch, caplog) -> None:
    (tmp_path / "broken").touch()
    requeue(Stopped(signal.SIGUSR1), resumes=True)
    assert "SLURM job 77 could not be requeued (scontrol: no such job): submit it again" in caplog.text
    monkeypatch.setenv("PATH", str(tmp_path))
    requeue(Stopped(signal.SIGUSR1), resumes=True)
    assert "No such file" in caplog.text
