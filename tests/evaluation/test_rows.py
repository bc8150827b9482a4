"""Rows go to the checkpoint of their own training, and no other."""

from __future__ import annotations

import logging

import pytest
from omegaconf import OmegaConf

from opsnet.errors import InputError
from opsnet.evaluation.rows import asked_rows, row_of_experiment, rows_of_checkpoint
from opsnet.experiments import experiment_row, experiment_rows


def asked(table, settings=None, experiment_name: str = "evaluate") -> list[str]:
    cfg = OmegaConf.create({"table": table, "settings": settings, "experiment_name": experiment_name})
    return [row.name for row in asked_rows(cfg)]


def test_tables_in_every_form() -> None:
    names = [row.name for row in experiment_rows(6)]
    assert asked(6) == asked("6") == asked("table6") == asked([6]) == names
    assert len(names) == 20
    assert asked([4, 6, 4]) == [row.name for number in (4, 6) for row in experiment_rows(number)]
    assert {name.partition("_")[0] for name in asked("all")} == {f"table{number}" for number in range(1, 10)}


def test_an_experiment_is_its_row() -> None:
    assert asked(None, ["full/cls"], "table4_row3") == ["table4_row3"]
    assert asked(None) == []


@pytest.mark.parametrize("table", [10, "x", [4, 99]])
def test_a_table_that_is_not_there(table) -> None:
    with pytest.raises(InputError, match="there are rows of tables 1, 2"):
        asked(table)


def test_a_table_and_settings() -> None:
    with pytest.raises(InputError, match="not both"):
        asked(6, ["full/cls"])


def test_rows_of_another_training_are_left_out_with_their_commands(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        found = rows_of_checkpoint(experiment_rows(1), "table1_row7", name="last.ckpt")
    assert [row.name for row in found] == ["table1_row6", "table1_row7"]
    assert "table1_row2, table1_row3, table1_row4, table1_row5" in caplog.text
    assert "opsnet-train experiment=table1_row5, then opsnet-evaluate table=1 checkpoint=PATH" in caplog.text
    assert "table1_row1 (python scripts/score_mask2former.py experiment=table1_row1" in caplog.text
    others = rows_of_checkpoint(experiment_rows(1), "table1_row5", name="last.ckpt")
    assert [row.name for row in others] == [f"table1_row{k}" for k in (2, 3, 4, 5)]


def test_no_row_is_the_checkpoints() -> None:
    with pytest.raises(InputError, match="trained by table1_row5, but table6_row01 to table6_row20, 20 rows"):
        rows_of_checkpoint(experiment_rows(6), "table1_row5")


def test_a_checkpoint_that_does_not_say(caplog: pytest.LogCaptureFixture) -> None:
    assert len(rows_of_checkpoint(experiment_rows(6), None)) == 20
    assert "does not say which experiment trained it; taken for table1_row7" in caplog.text
    with pytest.raises(InputError, match="the rows score table1_row5 or table1_row7: give trained_as=table1_row5"):
        rows_of_checkpoint(experiment_rows(1), None)
    found = rows_of_checkpoint(experiment_rows(1), None, trained_as="table1_row7")
    assert [row.name for row in found] == ["table1_row6", "table1_row7"]


def test_a_checkpoint_of_an_experiment_of_ones_own() -> None:
    with pytest.raises(InputError, match="'mine', which is no row of the paper's tables: give trained_as=table1_row7"):
        rows_of_checkpoint(experiment_rows(6), "mine")
    assert len(rows_of_checkpoint(experiment_rows(6), "mine", trained_as="table1_row7")) == 20


def test_an_experiment_built_on_a_row_is_that_row() -> None:
    for name, expected in (("scenes", "table1_row7"), ("table1_row5", "table1_row5")):
        row = row_of_experiment(name)
        assert row is not None and row.name == expected
    assert row_of_experiment("mine") is None


def test_without_rows_every_checkpoint_is_right() -> None:
    assert rows_of_checkpoint((), "mine") == ()
    assert experiment_row("mine") is None
