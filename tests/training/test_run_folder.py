"""A run's folder: one training at a time, finished runs are kept."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from opsnet.training.run_folder import is_running, own_folder
from opsnet.utils.errors import InputError

HOLD = "import sys, time; from pathlib import Path; from opsnet.training.run_folder import own_folder\n" \
    "with own_folder(Path(sys.argv[1]), None): print('held', flush=True); time.sleep(60)"  # fmt: skip


@pytest.fixture
def holder(tmp_path):
    """Another process that trains in ``tmp_path / "run"``."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path / "run")], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


def test_a_second_training_in_the_folder_is_refused_until_the_first_has_died(tmp_path, holder) -> None:
    assert is_running(tmp_path / "run")
    with (
        pytest.raises(InputError, match=r"run \(output\) is in use by another training"),
        own_folder(tmp_path / "run", None),
    ):
        pass
    holder.kill()
    holder.wait()
    until = time.monotonic() + 10
    while is_running(tmp_path / "run") and time.monotonic() < until:
        time.sleep(0.05)
    with own_folder(tmp_path / "run", None):
        assert (tmp_path / "run").is_dir()


def test_the_folder_is_free_after_the_training_and_has_no_lock_file(tmp_path) -> None:
    for _ in range(2):
        with own_folder(tmp_path / "run", None):
            assert is_running(tmp_path / "run")
            (tmp_path / "run" / "metrics.csv").touch()
    assert not is_running(tmp_path / "run")
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["metrics.csv"]


def test_a_new_folder_in_which_nothing_was_written_is_removed(tmp_path) -> None:
    with pytest.raises(InputError, match="invalid"), own_folder(tmp_path / "run", None):
        raise InputError("invalid input")
    assert not (tmp_path / "run").exists()


def finish(run: Path) -> None:
    (run / "checkpoints").mkdir(parents=True)
    (run / "checkpoints" / "last.ckpt").touch()
    (run / "results.json").write_text("{}")


def test_a_finished_run_is_not_overwritten(tmp_path) -> None:
    finish(tmp_path / "run")
    with (
        pytest.raises(InputError, match="has a finished training: choose another output"),
        own_folder(tmp_path / "run", None),
    ):
        pass
    with own_folder(tmp_path / "run", tmp_path / "run" / "checkpoints" / "last.ckpt"):
        pass


def test_a_folder_that_cannot_be_made_is_refused_in_a_sentence(tmp_path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(InputError, match=r"\(output\) cannot be written \(Not a directory\)"),
        own_folder(tmp_path / "file" / "run", None),
    ):
        pass
