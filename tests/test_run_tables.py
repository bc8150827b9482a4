"""make tables: its jobs are the trainings that the rows need, and their commands know the overrides."""

from __future__ import annotations

import argparse
from types import ModuleType

import pytest
from script_loading import load_script

from opsnet.experiments import experiment_rows, tables


@pytest.fixture
def job(monkeypatch, tmp_path) -> ModuleType:
    """scripts/run_tables.py as a module, with data and runs under ``tmp_path``."""
    monkeypatch.setenv("OPSNET_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("OPSNET_RUNS", str(tmp_path / "runs"))
    load_script("miniature")
    return load_script("run_tables")


def options(**given) -> argparse.Namespace:
    return argparse.Namespace(**{"seed": 0, "smoke": False, "overrides": [], **given})


def test_the_trainings_give_every_row_that_is_no_published_network(job) -> None:
    trained = {row.name for row in job.trainings()}
    assert trained == {
        "table1_row5", "table1_row7", "table2_row5", "table2_row6", "table2_row7",
        "table3_row2", "table3_row3", "table3_row4", "table8_row8",
    }  # fmt: skip
    needed = {row.training for table in tables() for row in experiment_rows(table)}
    assert needed == trained | {"published"}


def test_a_fine_tuning_starts_from_the_checkpoint_of_its_training(job, tmp_path) -> None:
    rows = {row.name: row for row in job.trainings()}
    made = job.training(rows["table3_row4"], tmp_path, options(overrides=["trainer.max_steps=5"]))
    assert made.folder == tmp_path / "table3_row4"
    assert f"init_from='{tmp_path / 'table2_row7' / 'checkpoints' / 'last.ckpt'}'" in made.overrides
    assert made.overrides[-1] == "trainer.max_steps=5"
    assert not any("init_from" in o for o in job.training(rows["table2_row7"], tmp_path, options()).overrides)


@pytest.mark.parametrize("name", ["table1_row5", "table3_row4"])
def test_every_override_is_a_key_of_its_command(name, job, compose, tmp_path) -> None:
    (row,) = (row for row in job.trainings() if row.name == name)
    made = job.training(row, tmp_path, options(smoke=True, seed=4))
    train = compose("train", *made.overrides, f"output={tmp_path}")
    assert (train.experiment_name, train.seed) == (name, 4)
    assert train.paths.data == str(tmp_path / "data" / "smoke")
    scored = job.evaluation(row, tmp_path, options(smoke=True))
    assert "opsnet.evaluate" in scored.command()
    evaluate = compose("evaluate", *scored.overrides, f"output={tmp_path}")
    assert (evaluate.table, evaluate.settings) == ("all", None)
    assert evaluate.checkpoint == str(tmp_path / name / "checkpoints" / "last.ckpt")
