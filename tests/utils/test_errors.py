"""Bad input ends a command with one sentence and exit code 2; a bug keeps its traceback."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from opsnet.utils.errors import InputError, exit_on_user_error, reason_of

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What ``exit_on_user_error`` sets is taken back after each test."""
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")


def end_with(error: BaseException, capsys: pytest.CaptureFixture[str]) -> tuple[object, str]:
    """Exit code and what was printed when ``error`` is raised inside a command."""
    with pytest.raises(SystemExit) as end, exit_on_user_error():
        raise error
    printed = capsys.readouterr()
    assert printed.out == ""
    return end.value.code, printed.err


def test_an_input_error_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    code, text = end_with(InputError("image a.png does not exist: give image=PATH"), capsys)
    assert code == 2
    assert text == "error: image a.png does not exist: give image=PATH\n"


def test_an_input_error_is_found_behind_other_errors(capsys: pytest.CaptureFixture[str]) -> None:
    outer = RuntimeError("Error in call to target")
    outer.__cause__ = OSError("wrapped twice")
    outer.__cause__.__cause__ = InputError("vocabulary is empty")
    assert end_with(outer, capsys) == (2, "error: vocabulary is empty\n")


@pytest.mark.parametrize(
    "message",
    [
        "DataLoader worker (pid 17) is killed by signal: Killed. ",
        "DataLoader worker (pid 17) is killed by signal: Bus error. It is possible that dataloader's workers ...",
        "DataLoader worker (pid(s) 17, 18) exited unexpectedly",
    ],
)
def test_a_dead_worker_is_a_sentence(message: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, text = end_with(RuntimeError(message), capsys)
    assert code == 2
    assert text.startswith(f"error: {message.partition('. ')[0]}, perhaps because memory or /dev/shm was full: run the")
    assert text.count("\n") == 1


def test_a_disk_is_found_behind_other_errors(capsys: pytest.CaptureFixture[str]) -> None:
    outer = ValueError("Unable to configure handler 'file'")  # logging's, for Hydra's log
    outer.__cause__ = OSError(errno.EROFS, "Read-only file system", "runs/train.log")
    code, text = end_with(outer, capsys)
    assert code == 2
    assert text.startswith("error: runs/train.log cannot be written (Read-only file system): ")


def test_workers_do_not_delay_the_exit(tmp_path: Path) -> None:
    code = """
import torch
from torch.utils.data import DataLoader
from opsnet.utils.errors import InputError, exit_on_user_error
from opsnet.utils.stop_signals import begin_worker
with exit_on_user_error():
    batches = iter(DataLoader(range(100), num_workers=2, worker_init_fn=begin_worker))
    next(batches)
    raise InputError("the disk is full")
"""
    start = time.monotonic()
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False)
    assert (run.returncode, run.stderr) == (2, "error: the disk is full\n")
    assert time.monotonic() - start < 55  # the workers survive SIGTERM for 60 seconds


def test_an_input_error_inside_of_hydras_instantiate(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    from hydra.utils import instantiate

    node = {"_target_": "opsnet.vocabulary.vocabulary.Vocabulary.load", "spec": str(tmp_path / "no.txt")}
    with pytest.raises(SystemExit) as end, exit_on_user_error():
        instantiate(node)
    assert end.value.code == 2
    assert capsys.readouterr().err == f"error: vocabulary file {tmp_path / 'no.txt'} does not exist: check the path\n"


def run_hydra(argument: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    """Exit code of a Hydra command with one key, ``batch_size``."""
    import hydra

    (folder / "config.yaml").write_text(f"batch_size: 2\nhydra: {{run: {{dir: {folder / 'run'}}}}}\n")

    @hydra.main(config_path=str(folder), config_name="config", version_base=None)
    def command(cfg) -> None:
        print(cfg.batch_size)

    monkeypatch.setattr(sys, "argv", ["command", argument, "hydra/job_logging=none", "hydra/hydra_logging=none"])
    with pytest.raises(SystemExit) as end, exit_on_user_error():
        command()
    return end.value.code


def test_a_key_that_the_configuration_lacks_is_one_line(capsys, monkeypatch, tmp_path) -> None:
    assert run_hydra("bacth_size=4", tmp_path, monkeypatch) == 2
    printed = capsys.readouterr().err
    assert printed.startswith("error: ")
    assert printed.count("\n") == 1
    assert "bacth_size" in printed


def test_a_reference_that_leads_nowhere_has_no_traceback(capsys, monkeypatch, tmp_path) -> None:
    assert run_hydra("batch_size=${nowhere}", tmp_path, monkeypatch) == 2
    printed = capsys.readouterr().err.splitlines()
    assert printed[-1].startswith("error: ")
    assert "nowhere" in printed[-1]
    assert len(printed) <= 2  # Hydra itself prints the overrides of a job that failed


def test_a_command_that_succeeds_just_ends(capsys: pytest.CaptureFixture[str]) -> None:
    with exit_on_user_error():
        print("done")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("error", [ZeroDivisionError("a bug"), ValueError("a plain one"), FileNotFoundError("lost")])
def test_other_errors_keep_their_traceback(error: Exception) -> None:
    with pytest.raises(type(error), match=str(error)), exit_on_user_error():
        raise error


@pytest.mark.parametrize(
    ("interrupted", "message"),
    [
        ("", "interrupted\n"),
        ("resume=auto goes on", "interrupted; resume=auto goes on\n"),
    ],
)
def test_ctrl_c_tells_how_to_go_on_where_something_goes_on(
    interrupted: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end, exit_on_user_error(interrupted=interrupted):
        raise KeyboardInterrupt
    assert end.value.code == 130
    assert capsys.readouterr().err == message


def test_pytorchs_advice_to_run_the_code_is_left_out() -> None:
    advice = "Weights only load failed. Re-running with `weights_only` set to `False` will likely succeed."
    assert reason_of(ValueError(f"{advice} Trying to load unsupported GLOBAL posix.system whose")) == (
        "it holds posix.system, which weights do not need"
    )
    assert reason_of(ValueError(f"{advice} Unsupported operand 149")) == "it is not a file of tensors"
    assert reason_of(KeyError(105)) == "its content is damaged"  # of a text file that is no pickle
    assert reason_of(ValueError("failed\n  finding   it")) == "failed finding it"
    assert reason_of(ValueError("x" * 300)) == "x" * 197 + "..."


def test_a_value_that_a_class_refuses_is_named_with_its_part(capsys: pytest.CaptureFixture[str]) -> None:
    from hydra.utils import instantiate

    node = {"modulation": {"_target_": "opsnet.recognition.modulation.EmbeddingModulation", "beta": 1e6}}
    with pytest.raises(SystemExit) as end, exit_on_user_error():
        instantiate(node)
    assert end.value.code == 2
    assert capsys.readouterr().err == (
        "error: modulation: modulation.alpha must lie in 0..1000 and modulation.beta in 0..10, got 10.0 and 1000000.0\n"
    )


def test_a_broken_pipe_to_another_program_is_an_error_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("opsnet.utils.errors._stdout_is_closed", lambda: False)
    with pytest.raises(BrokenPipeError), exit_on_user_error():
        raise BrokenPipeError


COMMAND = """
import sys, time
from opsnet.utils.errors import exit_on_user_error, when_stopped
with exit_on_user_error(interrupted="run it again"), when_stopped(lambda: sys.argv[1]):
    try:
        print("started", flush=True)
        time.sleep(600)
    finally:
        print("saved", flush=True)
        exec(sys.argv[2])
"""


@pytest.mark.parametrize(
    ("number", "code", "said"),
    [
        (signal.SIGTERM, 143, "stopped by SIGTERM"), (signal.SIGINT, 130, "interrupted"),
        (signal.SIGUSR1, 138, "stopped by SIGUSR1"), (signal.SIGUSR2, 140, "stopped by SIGUSR2"),
    ],
)  # fmt: skip
def test_a_signal_ends_a_command_after_what_it_saves(number: int, code: int, said: str) -> None:
    """A worker that received the signal too may fail while its parent saves."""
    kept, fails = "3 images are complete", "raise RuntimeError('worker killed')" if number == signal.SIGUSR2 else ""
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, kept, fails], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "started\n"
    process.send_signal(number)
    out, error = process.communicate(timeout=60)
    told = kept if not fails else "run it again"
    assert (process.returncode, out, error) == (code, "saved\n", f"{said}; {told}\n")


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_disk_behind_stdout_is_a_sentence(unbuffered: str) -> None:
    program = "from opsnet.utils.errors import exit_on_user_error\nwith exit_on_user_error():\n    print('text')"
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-c", program], stdout=full, stderr=subprocess.PIPE, text=True, check=False,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": unbuffered},
        )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "output cannot be written (No space left on device)" in done.stderr


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.EROFS, "Read-only file system", "/ro/x"), "/ro/x cannot be written (Read-only file system)"),
        (MemoryError(), "there is not enough memory (MemoryError)"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: 8 bytes"), "there is not enough memory (Default"),
    ],
)  # fmt: skip
def test_what_the_machine_lacks_is_a_sentence(error: Exception, said: str, capsys) -> None:
    code, text = end_with(error, capsys)
    assert code == 2
    assert text.startswith(f"error: {said}")
    assert text.count("\n") == 1
