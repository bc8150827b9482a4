"""make tables: its jobs are the trainings that the rows need, with valid overrides."""

from __future__ import annotations

import argparse
from importlib.util import find_spec
from types import ModuleType

import pytest

from opsnet.paper.rows import all_rows
from opsnet.paper.trainings import training
from scripts.miniature import run_tables


@pytest.fixture
def job(monkeypatch, tmp_path) -> ModuleType:
    """The job, with data and runs in ``tmp_path``."""
    monkeypatch.setenv("OPSNET_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("OPSNET_RUNS", str(tmp_path / "runs"))
    return run_tables


def options(**given) -> argparse.Namespace:
    return argparse.Namespace(**{"seed": 0, "smoke": False, "overrides": [], **given})


def test_the_trainings_cover_every_row_except_published_networks(job) -> None:
    trained = {found.name for found in job.trainings()}
    assert trained == {
        "opsnet_r50_no_clip_attention", "opsnet_r50", "opsnet_r101", "opsnet_swin_s", "opsnet_swin_l",
        "opsnet_plus_r50_cls", "opsnet_plus_r50", "opsnet_plus_swin_l", "opsnet_plus_r101",
    }  # fmt: skip
    assert {row.training for row in all_rows() if row.published_backbone is None} == trained


def test_a_fine_tuning_starts_from_the_checkpoint_of_its_training(job, tmp_path) -> None:
    made = job.training(training("opsnet_plus_swin_l"), tmp_path, options(overrides=["trainer.max_steps=5"]))
    assert made.folder == tmp_path / "opsnet_plus_swin_l"
    assert f"init_from='{tmp_path / 'opsnet_swin_l' / 'checkpoints' / 'last.ckpt'}'" in made.overrides
    assert made.overrides[-1] == "trainer.max_steps=5"
    assert not any("init_from" in o for o in job.training(training("opsnet_swin_l"), tmp_path, options()).overrides)


@pytest.mark.parametrize("name", ["opsnet_r50_no_clip_attention", "opsnet_plus_swin_l"])
def test_every_override_is_a_key_of_its_command(name, job, compose, tmp_path) -> None:
    made = job.training(training(name), tmp_path, options(smoke=True, seed=4))
    train = compose("train", *made.overrides, f"output={tmp_path}")
    assert (train.experiment_name, train.seed) == (name, 4)
    assert train.paths.data == str(tmp_path / "data" / "smoke")
    scored = job.evaluation(training(name), tmp_path, options(smoke=True))
    assert "opsnet.evaluate" in scored.command()
    evaluate = compose("evaluate", *scored.overrides, f"output={tmp_path}")
    assert (evaluate.table, evaluate.settings, evaluate.experiment_name) == ("all", None, name)
    assert set(evaluate.data.module.test) == {"scenes", "scenes_novel", "scenes_street"}
    assert evaluate.checkpoint == str(tmp_path / name / "checkpoints" / "last.ckpt")


def test_everything_the_jobs_need_is_prepared(job, monkeypatch, tmp_path) -> None:
    lines: list[list[str]] = []
    monkeypatch.setattr("subprocess.run", lambda line, check: lines.append(line))
    job._prepare(tmp_path / "runs", options(smoke=True))
    assert [line[2] for line in lines] == ["opsnet.train_clip", "opsnet.miniature.scenes"]
    assert all(find_spec(line[2]) is not None for line in lines)
    assert lines[1][3] == str(tmp_path / "data" / "smoke" / "scenes_0")


def test_the_tables_are_written_where_the_runs_are(job, monkeypatch, tmp_path) -> None:
    given: dict[str, list[str]] = {}
    monkeypatch.setattr("scripts.paper.figure4.main", lambda words: given.update(figure4=words))
    monkeypatch.setattr("scripts.paper.table.main", lambda words: given.update(table=words))
    job._write_tables(tmp_path / "runs", options())
    folder = str(tmp_path / "runs" / "tables_scenes")
    assert given["figure4"] == ["--world", "scenes", "--out", f"{folder}/figure4.png"]
    assert given["table"] == ["--all", "--world", "scenes", "--runs", str(tmp_path / "runs"), "--out", folder]
