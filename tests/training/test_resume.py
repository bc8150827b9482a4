"""Finding the run that a training resumes."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from opsnet.training.resume import check_same_options, find_resume, training_options
from opsnet.training.run import train
from opsnet.training.run_folder import own_folder
from opsnet.utils.errors import CheckpointError


def make_run(folder: Path, seed: int, *, finished: bool = False, age: float = 0) -> Path:
    """A run folder with a checkpoint that has no weights and is ``age`` seconds old."""
    (folder / ".hydra").mkdir(parents=True)
    (folder / ".hydra" / "config.yaml").write_text(f"seed: {seed}\n")
    checkpoint = folder / "checkpoints" / "last.ckpt"
    checkpoint.parent.mkdir()
    torch.save({"opsnet": {}, "state_dict": {}}, checkpoint)
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


def test_auto_passes_over_a_run_whose_configuration_is_damaged(train_config, tmp_path) -> None:
    config = train_config(tmp_path / "new", "resume=auto", "experiment_name=mine", f"paths.runs={tmp_path}")
    old = make_run(tmp_path / "mine" / "old", 0, age=100)
    for name, text in (("a", "seed: ["), ("b", "- 0"), ("c", "")):
        make_run(tmp_path / "mine" / name, 0)
        (tmp_path / "mine" / name / ".hydra" / "config.yaml").write_text(text)
    assert find_resume(config) == old


def test_a_missing_checkpoint_is_refused_before_anything_is_written(train_config, tmp_path) -> None:
    config = train_config(tmp_path / "run", f"resume={tmp_path / 'no.ckpt'}")
    with pytest.raises(CheckpointError, match=rf"{tmp_path / 'no.ckpt'} \(resume\) does not exist: .*resume=auto"):
        train(config)
    assert not (tmp_path / "run").exists()


def test_a_torn_checkpoint_is_left_for_the_one_before_with_a_warning(train_config, tmp_path, caplog) -> None:
    config = train_config(tmp_path / "new", "resume=auto", f"paths.runs={tmp_path}")
    last = make_run(tmp_path / "new", 0)
    before = last.with_name("last.previous.ckpt")
    last.rename(before)
    last.write_bytes(before.read_bytes()[:300])
    assert find_resume(config) == before
    assert "last.ckpt is not an OPSNet checkpoint" in caplog.text
    before.unlink()
    with pytest.raises(CheckpointError, match="none of the checkpoints in .* is whole"):
        find_resume(config)


def test_a_checkpoint_with_nan_is_left_for_the_one_before(train_config, tmp_path, caplog) -> None:
    config = train_config(tmp_path / "new", "resume=auto", f"paths.runs={tmp_path}")
    last = make_run(tmp_path / "new", 0)
    before = last.with_name("last.previous.ckpt")
    last.rename(before)
    torch.save({"opsnet": {}, "state_dict": {"model.a": torch.tensor([1.0, float("nan")])}}, last)
    assert find_resume(config) == before
    assert "model.a contains NaN or infinity" in caplog.text


def test_a_run_that_is_still_running_is_not_resumed_a_second_time(train_config, tmp_path) -> None:
    config = train_config(tmp_path / "new", "resume=auto", "experiment_name=mine", "seed=3", f"paths.runs={tmp_path}")
    make_run(tmp_path / "mine" / "run", 3)
    with (
        own_folder(tmp_path / "mine" / "run", None),
        pytest.raises(CheckpointError, match=r"mine/run \(resume=auto\) is still running"),
    ):
        find_resume(config)
    assert find_resume(config) is not None


def test_other_options_are_refused_by_name_and_accepted_on_request(train_config, tmp_path, caplog) -> None:
    config = train_config(tmp_path, "optim.optimizer.lr=1e-3")
    stored = {"callbacks": {"KeepOptions": {"options": training_options(config)}}}
    check_same_options(stored, config, tmp_path / "last.ckpt")
    changed = train_config(tmp_path, "optim.optimizer.lr=5e-5", "seed=4")
    message = r"optim\.optimizer\.lr was 0\.001 and is 5e-05, seed was 0 and is 4\. Resume with the same"
    with pytest.raises(CheckpointError, match=message):
        check_same_options(stored, changed, tmp_path / "last.ckpt")
    OmegaConf.update(changed, "resume_changed", True)
    check_same_options(stored, changed, tmp_path / "last.ckpt")
    assert "with other options: optim.optimizer.lr was 0.001 and is 5e-05" in caplog.text


def test_what_does_not_affect_the_result_may_change(train_config, tmp_path) -> None:
    stored = {"callbacks": {"KeepOptions": {"options": training_options(train_config(tmp_path / "a"))}}}
    free = (
        "trainer.devices=2",
        "progress_every=1",
        "logger=wandb",
        "paths.data=/elsewhere",
    )
    check_same_options(stored, train_config(tmp_path / "b", *free), tmp_path / "last.ckpt")
    check_same_options({}, train_config(tmp_path / "b"), tmp_path / "last.ckpt")  # of an earlier version
