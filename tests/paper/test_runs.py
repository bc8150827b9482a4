"""Which run on disk answers for a row."""

from __future__ import annotations

import pytest
from table_runs import write_evaluation, write_training, write_unhappy

from opsnet.paper.rows import table_row
from opsnet.paper.runs import Runs
from opsnet.paper.worlds import load_world

REAL, SCENES = load_world("real"), load_world("scenes")


def figures(setting: str, **domains: float) -> dict[str, float]:
    return {f"{domain}/{setting}/{m}": pq for domain, pq in domains.items() for m in ("PQ", "PQth", "PQst", "SQ", "RQ")}


@pytest.mark.parametrize(
    ("experiment", "trained_as", "training"),
    [
        ("table4_row3", None, "opsnet_r50"),  # from before conf/tables: a row claimed its training
        ("table4_row3", "opsnet_r50_no_clip_attention", "opsnet_r50_no_clip_attention"),  # the checkpoint knows better
        ("evaluate", "scenes", "opsnet_r50"),  # the miniature of that row
        ("opsnet_r101", None, "opsnet_r101"),
        ("evaluate", "table1_row7", "opsnet_r50"),  # a checkpoint from before conf/tables
        ("mask2former_r101", None, "mask2former_r101"),  # published weights stand for themselves
        ("table9_row6", None, "mask2former_r101"),
        ("evaluate", "my_own", "my_own"),
    ],
)
def test_whose_checkpoint_was_scored(tmp_path, experiment, trained_as, training) -> None:
    write_evaluation(tmp_path / "a", {}, experiment=experiment, trained_as=trained_as)
    (run,) = Runs(tmp_path).runs
    assert run.training == training


def test_the_newest_evaluation_that_covers_most(tmp_path) -> None:
    both = figures("full/cls_iou", coco=52, ade20k=17)
    write_evaluation(tmp_path / "old", both, experiment="opsnet_r50", age=2)
    wanted = write_evaluation(tmp_path / "sweep" / "3", both, experiment="evaluate", trained_as="opsnet_r50", age=1)
    write_evaluation(tmp_path / "one_domain", figures("full/cls_iou", coco=60), experiment="opsnet_r50")
    write_evaluation(tmp_path / "other_setting", figures("full/cls", coco=1, ade20k=1), experiment="opsnet_r50")
    write_evaluation(tmp_path / "other_model", both, experiment="opsnet_r101")
    write_unhappy(tmp_path / "broken")
    run = Runs(tmp_path).evaluation(table_row(1, 7), REAL)
    assert run is not None
    assert run.folder == wanted
    assert run.metric(table_row(1, 7), "ade20k", "PQ") == 17
    assert run.metric(table_row(1, 7), "cityscapes", "PQ") is None


def test_the_worlds_do_not_mix(tmp_path) -> None:
    write_evaluation(tmp_path / "a", figures("full/cls_iou", scenes=80, scenes_novel=48), experiment="opsnet_r50")
    runs = Runs(tmp_path)
    assert runs.evaluation(table_row(1, 7), REAL) is None
    assert runs.evaluation(table_row(1, 7), SCENES) is not None
    assert runs.evaluation(table_row(1, 5), SCENES) is None


@pytest.mark.parametrize("experiment", ["mask2former_r50", "table1_row1"])
def test_published_weights_answer_every_row_of_theirs(tmp_path, experiment) -> None:
    write_evaluation(tmp_path / "a", figures("mask2former", coco=51.9), experiment=experiment)
    runs = Runs(tmp_path)
    assert runs.evaluation(table_row(1, 1), REAL) is not None
    assert runs.evaluation(table_row(9, 5), REAL) is not None
    assert runs.evaluation(table_row(9, 6), REAL) is None


def test_the_newest_checkpoint_of_a_world(tmp_path) -> None:
    write_training(tmp_path / "old", experiment="opsnet_r50", world="scenes", age=1)
    new = write_training(tmp_path / "new", experiment="opsnet_r50", world="scenes")
    write_evaluation(new / "evaluation", {}, experiment="opsnet_r50")  # has no checkpoint
    runs = Runs(tmp_path)
    assert runs.checkpoint("opsnet_r50", SCENES) == new / "checkpoints" / "last.ckpt"
    assert runs.checkpoint("opsnet_r50", REAL) is None
    assert runs.checkpoint("opsnet_r101", SCENES) is None


def test_a_checkpoint_from_before_conf_tables(tmp_path) -> None:
    old = write_training(tmp_path / "old", experiment="table2_row5", world="scenes")
    assert Runs(tmp_path).checkpoint("opsnet_r101", SCENES) == old / "checkpoints" / "last.ckpt"


def test_no_runs_at_all(tmp_path) -> None:
    assert Runs(tmp_path / "nowhere").runs == []
