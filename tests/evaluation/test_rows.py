"""Rows are scored only with a checkpoint of their own training."""

from __future__ import annotations

import logging

import pytest
from omegaconf import OmegaConf

from opsnet.evaluation.options import EvaluationOptions, option_values
from opsnet.evaluation.rows import asked_rows, rows_of_checkpoint
from opsnet.paper.rows import table_rows
from opsnet.utils.errors import InputError

BASELINE = "opsnet_r50_no_clip_attention"


def asked(table, settings=None, experiment_name: str = "evaluate", row=None) -> list[tuple[int, int]]:
    given = {"table": table, "row": row, "settings": settings, "experiment_name": experiment_name}
    cfg = OmegaConf.create({**given, "output": "out"})
    return numbers(asked_rows(EvaluationOptions(**option_values(cfg))))


def numbers(rows) -> list[tuple[int, int]]:
    return [(row.table, row.row) for row in rows]


def test_tables_in_every_form() -> None:
    cells = [(6, cell) for cell in range(1, 21)]
    assert asked(6) == asked("6") == asked("table6") == asked([6]) == cells
    assert asked([4, 6, 4]) == [*((4, row) for row in range(1, 9)), *cells]
    assert {table for table, _ in asked("all")} == set(range(1, 10))


def test_rows_of_a_table() -> None:
    assert asked(4, row=3) == asked([4], row="3") == asked("table4", row=[3]) == [(4, 3)]
    assert asked(8, row=[9, 5, 9]) == [(8, 9), (8, 5)]


@pytest.mark.parametrize(
    ("table", "row", "message"),
    [
        (8, 1, "row 1: Table 8 has rows 5, 8, 9"),
        ([4, 6], 3, "row=3 needs a single table"),
        ("all", 3, "row=3 needs a single table, but table=all: give table=T"),
        (None, 3, "row=3 needs a table: give table=T too"),
    ],
)
def test_a_missing_row(table, row, message) -> None:
    with pytest.raises(InputError, match=message):
        asked(table, row=row)


def test_an_experiment_and_its_settings_select_rows() -> None:
    assert asked(None, ["query_only/cls_iou"], BASELINE) == [(1, 5)]
    full = [(1, 7), (2, 4), (3, 1), (4, 8), (7, 8), (9, 8)]
    assert asked(None, ["full/cls_iou"], "opsnet_r50") == asked(None, "full/cls_iou", "opsnet_r50") == full
    assert asked(None, ["full/cls_iou"], "mine") == asked(None, None, "opsnet_r50") == asked(None) == []


@pytest.mark.parametrize("table", [10, "x", [4, 99]])
def test_a_missing_table(table) -> None:
    with pytest.raises(InputError, match="there are tables 1, 2"):
        asked(table)


def test_a_table_and_settings() -> None:
    with pytest.raises(InputError, match="not both"):
        asked(6, ["full/cls"])


def test_rows_of_another_training_are_skipped_with_their_commands(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        found = rows_of_checkpoint(table_rows(1), "opsnet_r50", name="last.ckpt")
    assert numbers(found) == [(1, 6), (1, 7)]
    assert (
        "Table 1, rows 2 to 5, 8 (opsnet-train experiment=opsnet_r50_no_clip_attention, then opsnet-evaluate table=1 "
        "checkpoint=PATH of it)" in caplog.text
    )
    assert (
        "Table 1, row 1 (python -m scripts.published.score_mask2former backbone=r50 model.weights=PATH)" in caplog.text
    )
    others = rows_of_checkpoint(table_rows(1), BASELINE, name="last.ckpt")
    assert numbers(others) == [(1, k) for k in (2, 3, 4, 5, 8)]


@pytest.mark.parametrize("old", ["table1_row7", "table4_row3"])
def test_a_checkpoint_from_before_conf_tables(old) -> None:
    assert numbers(rows_of_checkpoint(table_rows(1), old)) == [(1, 6), (1, 7)]
    assert numbers(rows_of_checkpoint(table_rows(1), None, trained_as=old)) == [(1, 6), (1, 7)]


def test_no_row_belongs_to_the_checkpoint() -> None:
    with pytest.raises(InputError, match="trained by opsnet_r50_no_clip_attention, but Table 6, rows 1 to 20 need"):
        rows_of_checkpoint(table_rows(6), BASELINE)


def test_a_checkpoint_without_an_experiment(caplog: pytest.LogCaptureFixture) -> None:
    assert len(rows_of_checkpoint(table_rows(6), None)) == 20
    assert "does not store which experiment trained it; assuming opsnet_r50" in caplog.text
    with pytest.raises(InputError, match=f"the rows need {BASELINE} or opsnet_r50: give trained_as={BASELINE}"):
        rows_of_checkpoint(table_rows(1), None)
    assert numbers(rows_of_checkpoint(table_rows(1), None, trained_as="opsnet_r50")) == [(1, 6), (1, 7)]


def test_a_checkpoint_of_a_users_experiment() -> None:
    with pytest.raises(InputError, match="'mine', which no row of the paper's tables uses: give trained_as=opsnet_r50"):
        rows_of_checkpoint(table_rows(6), "mine")
    assert len(rows_of_checkpoint(table_rows(6), "mine", trained_as="opsnet_r50")) == 20


def test_the_same_training_in_another_world() -> None:
    assert len(rows_of_checkpoint(table_rows(6), "scenes")) == 20


def test_without_rows_every_checkpoint_is_accepted() -> None:
    assert rows_of_checkpoint((), "mine") == ()
