"""Rows of the paper's tables: what their yamls say, and that the paper says it too."""

from __future__ import annotations

import re
from itertools import islice
from pathlib import Path

import pytest

from opsnet.errors import InputError
from opsnet.experiments import (
    PUBLISHED,
    TITLES,
    experiment_row,
    experiment_rows,
    load_world,
    require_training,
    row_of_experiment,
    tables,
)
from opsnet.settings import parse_setting

PAPER = Path(__file__).parents[2] / "shared" / "paper" / "opsnet_paper.txt"
ROWS = [row for table in tables() for row in experiment_rows(table)]
SETS = {"COCO": "coco", "ADE20K": "ade20k", "CityScapes": "cityscapes", "PC": "pascal_context"}


def test_every_table_has_its_rows_in_order() -> None:
    assert tables() == tuple(TITLES) == tuple(range(1, 10))
    assert [len(experiment_rows(t)) for t in tables()] == [7, 4, 4, 8, 3, 20, 8, 3, 6]
    assert [row.row for row in experiment_rows(9)] == [5, 6, 7, 8, 9, 10]
    assert experiment_rows("table6") == experiment_rows(6) == experiment_rows("6")


def test_a_row() -> None:
    row = experiment_row("table7_row6")
    assert row is not None
    assert (row.table, row.row, row.title, row.training) == (7, 6, "Modulated, Cls", "table1_row7")
    assert not row.is_training
    assert row.measured_as == row.settings[0] == "full/cls"
    assert row.paper["ade20k"] == {"PQ": 14.9, "PQth": 40.6, "PQst": 18.1}  # as printed
    assert row.published("ade20k", "PQth") == 13.3  # the misprint put right
    assert row.published("coco", "PQth") == 55.4
    assert row.published("cityscapes", "PQ") is None
    assert experiment_row("scenes") is None


def test_an_unknown_table_is_named_with_those_there_are() -> None:
    with pytest.raises(InputError, match="table 12: there are rows of tables 1, 2, 3, 4, 5, 6, 7, 8, 9"):
        experiment_rows(12)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_row_can_be_run(row) -> None:
    assert bool(row.settings) == (row.training != PUBLISHED)
    assert [parse_setting(name).name for name in row.settings] == list(row.settings)
    if row.training != PUBLISHED:
        trained = experiment_row(row.training)
        assert trained is not None
        assert trained.is_training
    if row.starts_from is not None:
        start = experiment_row(row.starts_from)
        assert start is not None
        assert start.is_training
        assert row.is_training


def test_an_experiment_built_on_a_row_is_that_row() -> None:
    assert row_of_experiment("scenes") == experiment_row("table1_row7")
    assert row_of_experiment("table4_row3") == experiment_row("table4_row3")
    assert row_of_experiment("scenes_plus") == experiment_row("table3_row3")
    assert row_of_experiment("scenes_plus_control") is None  # it trains on other data
    assert row_of_experiment("no_such") is None


def test_what_is_only_scored_is_not_trained() -> None:
    require_training({"experiment_name": "table1_row7"})
    with pytest.raises(InputError, match=r"opsnet-train experiment=table1_row7, then .* experiment=table4_row3"):
        require_training({"experiment_name": "table4_row3", "training": "table1_row7"})
    with pytest.raises(InputError, match=r"score_mask2former.py experiment=table1_row1 model.weights=PATH"):
        require_training({"experiment_name": "table1_row1", "training": PUBLISHED})


def test_worlds() -> None:
    real, scenes = load_world("real"), load_world("scenes")
    assert real.is_real
    assert real.domain("ade20k") == "ade20k"
    assert not scenes.is_real
    assert scenes.domain("ade20k") == "scenes_novel"
    assert {s for row in ROWS for s in row.paper} == set(scenes.stands_for)
    with pytest.raises(InputError, match="world 'mars': there are real, scenes"):
        load_world("mars")


@pytest.mark.parametrize(
    ("paper_set", "things", "stuff"), [("coco", 80, 53), ("ade20k", 100, 50), ("cityscapes", 8, 11)]
)
def test_published_pq_is_the_mean_over_things_and_stuff(paper_set, things, stuff) -> None:
    # The rows whose figures do not combine in the paper itself; their notes say so, or the row that they repeat.
    known = {"table1_row5", "table4_row2", "table5_row2", "table7_row3"}
    wrong = set()
    for row in ROWS:
        pq, pqth, pqst = (row.published(paper_set, measure) for measure in ("PQ", "PQth", "PQst"))
        if pq is not None and pqth is not None and pqst is not None:
            combined = (things * pqth + stuff * pqst) / (things + stuff)
            if abs(combined - pq) > 0.15:
                wrong.add(row.name)
    assert wrong <= known


# Lines of figures that each table of the paper's text has, those of other methods too.
PRINTED_ROWS = {1: 7, 2: 7, 3: 4, 4: 8, 5: 3, 6: 4, 7: 8, 8: 9, 9: 10}


def printed_lines() -> list[list[str]]:
    """Cells of the text's lines of tables."""
    lines = PAPER.read_text(encoding="utf-8").splitlines()
    return [[cell.strip() for cell in line.split("|")] for line in lines if "|" in line]


def printed_figures() -> dict[int, list[list[float]]]:
    """Table -> rows -> figures from left to right, as printed."""
    lines = [[float(c) for c in cells if re.fullmatch(r"\d+\.\d", c)] for cells in printed_lines() if cells[0] != "LD"]
    rows = iter(line for line in lines if line)
    found = {table: list(islice(rows, count)) for table, count in PRINTED_ROWS.items()}
    assert next(rows, None) is None
    return found


@pytest.mark.skipif(not PAPER.is_file(), reason="the paper's text is not here")
def test_the_figures_are_those_of_the_paper() -> None:
    printed = printed_figures()
    for row in ROWS:
        ours = [value for figures in row.paper.values() for value in figures.values()]
        if row.table == 6:
            alpha, beta = divmod(row.row - 1, 5)
            assert ours == [printed[6][alpha][beta]], row.name
        else:
            assert ours == printed[row.table][row.row - 1], row.name


@pytest.mark.skipif(not PAPER.is_file(), reason="the paper's text is not here")
def test_the_figures_stand_under_the_papers_sets() -> None:
    heads = [[SETS[cell] for cell in cells if cell in SETS] for cells in printed_lines() if cells[0] in SETS]
    for table, sets in zip((1, 2, 3, 4, 5, 7), heads, strict=True):
        assert [list(row.paper) for row in experiment_rows(table) if len(row.paper) > 1] == [
            sets for row in experiment_rows(table) if len(row.paper) > 1
        ]
