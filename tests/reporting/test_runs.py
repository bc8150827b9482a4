"""Which run on disk answers for a row."""

from __future__ import annotations

import pytest
from table_runs import write_evaluation, write_training, write_unhappy

from opsnet.experiments import ExperimentRow, experiment_row, load_world
from opsnet.reporting.runs import Runs

REAL, SCENES = load_world("real"), load_world("scenes")


def row(name: str) -> ExperimentRow:
    found = experiment_row(name)
    assert found is not None
    return found


def figures(setting: str, **domains: float) -> dict[str, float]:
    return {f"{domain}/{setting}/{m}": pq for domain, pq in domains.items() for m in ("PQ", "PQth", "PQst", "SQ", "RQ")}


@pytest.mark.parametrize(
    ("experiment", "trained_as", "training"),
    [
        ("table4_row3", None, "table1_row7"),  # a row claims its training
        ("table4_row3", "table1_row5", "table1_row5"),  # the checkpoint knows better
        ("evaluate", "scenes", "table1_row7"),  # the miniature of that row
        ("table2_row5", None, "table2_row5"),
        ("table9_row5", None, "table9_row5"),  # published weights stand for themselves
        ("evaluate", "my_own", "my_own"),
    ],
)
def test_whose_checkpoint_was_scored(tmp_path, experiment, trained_as, training) -> None:
    write_evaluation(tmp_path / "a", {}, experiment=experiment, trained_as=trained_as)
    (run,) = Runs(tmp_path).runs
    assert run.training == training


def test_the_newest_evaluation_that_covers_most(tmp_path) -> None:
    both = figures("full/cls_iou", coco=52, ade20k=17)
    write_evaluation(tmp_path / "old", both, experiment="table1_row7", age=2)
    wanted = write_evaluation(tmp_path / "sweep" / "3", both, experiment="evaluate", trained_as="table1_row7", age=1)
    write_evaluation(tmp_path / "one_domain", figures("full/cls_iou", coco=60), experiment="table1_row7")
    write_evaluation(tmp_path / "other_setting", figures("full/cls", coco=1, ade20k=1), experiment="table1_row7")
    write_evaluation(tmp_path / "other_model", both, experiment="table2_row5")
    write_unhappy(tmp_path / "broken")
    run = Runs(tmp_path).evaluation(row("table1_row7"), REAL)
    assert run is not None
    assert run.folder == wanted
    assert run.figure(row("table1_row7"), "ade20k", "PQ") == 17
    assert run.figure(row("table1_row7"), "cityscapes", "PQ") is None


def test_the_worlds_do_not_mix(tmp_path) -> None:
    write_evaluation(tmp_path / "a", figures("full/cls_iou", scenes=80, scenes_novel=48), experiment="table1_row7")
    runs = Runs(tmp_path)
    assert runs.evaluation(row("table1_row7"), REAL) is None
    assert runs.evaluation(row("table1_row7"), SCENES) is not None
    assert runs.evaluation(row("table1_row5"), SCENES) is None


def test_published_weights_by_the_rows_own_name(tmp_path) -> None:
    write_evaluation(tmp_path / "a", figures("mask2former", coco=51.9), experiment="table1_row1")
    runs = Runs(tmp_path)
    assert runs.evaluation(row("table1_row1"), REAL) is not None
    assert runs.evaluation(row("table9_row5"), REAL) is None


def test_the_newest_checkpoint_of_a_world(tmp_path) -> None:
    write_training(tmp_path / "old", experiment="table1_row7", world="scenes", age=1)
    new = write_training(tmp_path / "new", experiment="table1_row7", world="scenes")
    write_evaluation(new / "evaluation", {}, experiment="table1_row7")  # has no checkpoint
    runs = Runs(tmp_path)
    assert runs.checkpoint("table1_row7", SCENES) == new / "checkpoints" / "last.ckpt"
    assert runs.checkpoint("table1_row7", REAL) is None
    assert runs.checkpoint("table2_row5", SCENES) is None


def test_no_runs_at_all(tmp_path) -> None:
    assert Runs(tmp_path / "nowhere").runs == []
