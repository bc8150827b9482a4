"""Rows of the paper's tables: what their yamls say, and that the paper says it too."""

from __future__ import annotations

import re
from itertools import islice
from pathlib import Path

import pytest

from opsnet.inference.settings import parse_setting
from opsnet.paper import rows as module
from opsnet.paper.rows import all_rows, numbered, table_row, table_rows, table_title, tables
from opsnet.utils.configuration import config_dir
from opsnet.utils.errors import InputError

PAPER = Path(__file__).parents[3] / "shared" / "paper" / "opsnet_paper.txt"
ROWS = all_rows()
SETS = {"COCO": "coco", "ADE20K": "ade20k", "CityScapes": "cityscapes", "PC": "pascal_context"}


def test_every_table_has_its_rows_in_order() -> None:
    assert tables() == tuple(range(1, 10))
    assert [len(table_rows(t)) for t in tables()] == [8, 4, 4, 8, 4, 20, 9, 3, 6]
    assert [row.row for row in table_rows(9)] == [5, 6, 7, 8, 9, 10]
    assert table_rows("table6") == table_rows(6) == table_rows("6")
    assert list(ROWS) == [row for table in tables() for row in table_rows(table)]
    assert table_title(7) == "Scores that filter the proposals"


def test_a_row() -> None:
    row = table_row(7, 6)
    assert (row.table, row.row, row.title, row.training) == (7, 6, "Modulated, Cls", "opsnet_r50")
    assert row.name == "Table 7, row 6"
    assert row.measured_as == row.setting == "full/cls"
    assert row.paper["ade20k"] == {"PQ": 14.9, "PQth": 40.6, "PQst": 18.1}  # as printed
    assert row.published("ade20k", "PQth") == 13.3  # the misprint corrected
    assert row.published("coco", "PQth") == 55.4
    assert row.published("cityscapes", "PQ") is None


def test_published_weights_have_a_backbone_and_no_setting() -> None:
    row = table_row(9, 7)
    assert (row.training, row.published_backbone, row.setting) == ("mask2former_swin_l", "swin_l", None)
    assert row.measured_as == "mask2former"


def test_a_grid_is_rows_alpha_by_alpha() -> None:
    row = table_row(6, 8)
    assert (row.title, row.setting, row.training) == ("alpha 5, beta 0.5", "alpha=5,beta=0.5/cls_iou", "opsnet_r50")
    assert row.paper == {"ade20k": {"PQ": 16.6}}
    assert [r.row for r in table_rows(6) if r.note] == [1, 11, 13, 19]


def test_rows_of_ours_come_last_and_are_marked() -> None:
    ours = {(row.table, row.row): row for row in ROWS if row.is_ours}
    assert {place: row.title for place, row in ours.items()} == {
        (1, 8): "OPSNet without cross-attention (ours)",
        (5, 4): "Masked attention, 2 passes (ours)",
        (7, 9): "CLIP, IoU (ours)",
    }
    for (table, number), row in ours.items():
        assert number == len(table_rows(table))
        assert row.published("coco", "PQ") is None
    measures = [(dataset, measure) for dataset in ("ade20k", "coco") for measure in ("PQ", "PQth", "PQst")]
    assert list(ours[5, 4].columns) == list(table_row(5, 1).columns) == measures
    assert not any("(ours)" in row.title for row in ROWS if not row.is_ours)


def test_an_unknown_table_or_row_is_named_with_those_there_are() -> None:
    with pytest.raises(InputError, match="table 12: there are tables 1, 2, 3, 4, 5, 6, 7, 8, 9 in conf/tables"):
        table_rows(12)
    with pytest.raises(InputError, match="row 1: Table 8 has rows 5, 8, 9"):
        table_row(8, 1)


def test_numbers_of_rows() -> None:
    assert numbered(table_rows(6)) == "rows 1 to 20"
    assert numbered(table_rows(8)) == "rows 5, 8, 9"
    assert numbered(table_rows(8)[:1]) == "row 5"
    assert numbered(table_rows(6)[:2]) == "rows 1, 2"
    assert numbered((*table_rows(6)[1:5], table_rows(6)[7])) == "rows 2 to 5, 8"


ROW = "title: T\nrows:\n  1:\n    name: a\n    paper: {coco: {PQ: 1.0}}\n"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (ROW, "give either training and setting, or published"),
        (
            ROW + "    training: a\n    setting: full/cls\n    ours: true\n",
            "give either paper, its printed results, or",
        ),
        (ROW.replace("    paper: {coco: {PQ: 1.0}}\n", ""), "give either paper, its printed results, or ours: true"),
        (ROW + "    training: a\n", "give either training and setting, or published"),
        (ROW + "    published: r50\n    setting: full/cls\n    training: a\n", "give either"),
        (ROW + "    published: r50\n    settings: [full/cls]\n", "settings"),
        ("title: T\n", "rows"),
        (
            "title: T\ntraining: a\ngrid: {name: a, alpha: [1], beta: [1], setting: b, paper: {}, cells: 1}",
            "cells",
        ),
    ],
)
def test_a_file_that_is_no_table(content, said, tmp_path, monkeypatch) -> None:
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "77.yaml").write_text(content)
    monkeypatch.setattr(module, "config_dir", lambda: tmp_path)
    with pytest.raises(InputError, match=f"77.yaml is not a table .*{said}"):
        table_rows(77)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_row_can_be_run(row) -> None:
    conf = config_dir()
    if row.published_backbone:
        assert (conf / "backbone" / f"{row.published_backbone}.yaml").is_file()
    else:
        assert parse_setting(row.setting).name == row.setting
        assert (conf / "experiment" / f"{row.training}.yaml").is_file()


@pytest.mark.parametrize(
    ("paper_set", "things", "stuff"), [("coco", 80, 53), ("ade20k", 100, 50), ("cityscapes", 8, 11)]
)
def test_published_pq_is_the_mean_over_things_and_stuff(paper_set, things, stuff) -> None:
    # The rows whose figures do not combine in the paper itself; their notes say so, or the row that they repeat.
    known = {(1, 5), (4, 2), (5, 2), (7, 3)}
    wrong = set()
    for row in ROWS:
        pq, pqth, pqst = (row.published(paper_set, measure) for measure in ("PQ", "PQth", "PQst"))
        if pq is not None and pqth is not None and pqst is not None:
            combined = (things * pqth + stuff * pqst) / (things + stuff)
            if abs(combined - pq) > 0.15:
                wrong.add((row.table, row.row))
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
    for row in (row for row in ROWS if not row.is_ours):
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
        assert [list(row.paper) for row in table_rows(table) if len(row.paper) > 1] == [
            sets for row in table_rows(table) if len(row.paper) > 1
        ]
