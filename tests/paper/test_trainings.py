"""The trainings that rows score, and which of them an experiment is."""

from __future__ import annotations

import pytest

from opsnet.paper.trainings import rows_of, training, training_of, trainings
from opsnet.utils.configuration import config_dir


def test_the_trainings_are_experiments_that_name_no_row() -> None:
    names = {found.name for found in trainings()}
    files = {path.stem for path in (config_dir() / "experiment").glob("*.yaml")}
    ours = {"camvid", "finetune", "fcclip_r50", "fcclip_convnext_l", "opsnet_shared_r50", "opsnet_shared_convnext_l"}
    miniature = {f"scenes{kind}" for kind in ("", "_learned", "_shared", "_fcclip", "_plus", "_plus_control")}
    assert files - names == ours | miniature
    assert names < files
    for name in files:
        text = (config_dir() / "experiment" / f"{name}.yaml").read_text()
        assert "paper:" not in text and "Table" not in text, name


def test_fine_tunings_start_from_another_training() -> None:
    starts = {found.name: found.starts_from for found in trainings() if found.starts_from}
    assert starts == {
        "opsnet_plus_r50": "opsnet_r50", "opsnet_plus_r50_cls": "opsnet_r50", "opsnet_plus_r101": "opsnet_r101",
        "opsnet_plus_swin_l": "opsnet_swin_l",
    }  # fmt: skip
    assert training("opsnet_r50").starts_from is None


def test_the_rows_of_a_training() -> None:
    assert [(row.table, row.row) for row in rows_of("opsnet_r50_no_clip_attention")] == [
        (1, k) for k in (2, 3, 4, 5, 8)
    ]
    assert [(row.table, row.row) for row in rows_of("mask2former_r50")] == [(1, 1), (9, 5)]
    assert len(rows_of("opsnet_r50")) == 46  # as opsnet/paper/rows.py says
    assert len({row.table for row in rows_of("opsnet_r50")}) == 8
    assert rows_of("scenes") == ()


@pytest.mark.parametrize(
    ("experiment", "expected"),
    [
        ("opsnet_swin_l", "opsnet_swin_l"),
        ("mask2former_swin_l", "mask2former_swin_l"),
        ("scenes", "opsnet_r50"),  # the same in another world
        ("scenes_plus", "opsnet_plus_r50"),
        ("scenes_plus_control", None),  # it trains on other data
        ("opsnet_plus_swin_l", "opsnet_plus_swin_l"),  # not what its yaml builds on
        ("no_such", None),
        ("table1_row7", "opsnet_r50"),  # from before conf/tables
        ("table3_row2", "opsnet_plus_r50_cls"),
        ("table4_row3", "opsnet_r50"),
        ("table9_row5", "mask2former_r50"),
        ("train_opsnet_plus", "opsnet_plus_r50"),
    ],
)
def test_the_training_that_an_experiment_is(experiment, expected) -> None:
    assert training_of(experiment) == expected
