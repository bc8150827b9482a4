"""Finding the run that a training resumes."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from opsnet.training.resume import find_resume
from opsnet.training.run import train
from opsnet.utils.errors import CheckpointError


def make_run(folder: Path, seed: int, *, finished: bool = False, age: float = 0) -> Path:
    """A run folder with an empty checkpoint that is ``age`` seconds old."""
    (folder / ".hydra").mkdir(parents=True)
    (folder / ".hydra" / "config.yaml").write_text(f"seed: {seed}\n")
    checkpoint = folder / "checkpoints" / "last.ckpt"
    checkpoint.parent.mkdir()
    checkpoint.touch()
    os.utime(checkpoint, (time.time() - age,) * 2)
    if finished:
        (folder / "results.json").write_text("{}")
    return checkpoint


def test_auto_takes_the_newest_unfinished_run_of_the_same_seed(train_config, tmp_path) -> None:
    config = train_config(tmp_path / "new", "resume=auto", "experiment_name=mine", "seed=3", f"paths.runs={tmp_path}")
    assert find_resume(config) is None
    make_run(tmp_path / "mine" / "finished", 3, finished=True)
    make_run(tmp_path / "mine" / "other_seed", 4)
    make_run(tmp_path / "other" / "run", 3)
    assert find_resume(config) is None
    old = make_run(tmp_path / "mine" / "z_old", 3, age=100)
    assert find_resume(config) == old
    new = make_run(tmp_path / "mine" / "a_new", 3, age=50)
    assert find_resume(config) == new
    own = make_run(tmp_path / "new", 3, age=1000)
    assert find_resume(config) == own
    config.resume = None
    assert find_resume(config) is None


def test_a_missing_checkpoint_is_refused_before_anything_is_written(train_config, tmp_path) -> None:
    config = train_config(tmp_path / "run", f"resume={tmp_path / 'no.ckpt'}")
    with pytest.raises(CheckpointError, match=rf"{tmp_path / 'no.ckpt'} \(resume\) does not exist: .*resume=auto"):
        train(config)
    assert not (tmp_path / "run").exists()
