"""scripts/paper/table.py: its output."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from table_runs import write_two_tables

from scripts.paper import table


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return write_two_tables(tmp_path / "runs")


def test_a_table_is_printed_in_every_format(runs, tmp_path, capsys) -> None:
    for form, start in (("md", "## Table 1."), ("latex", "% \\usepackage"), ("csv", "table,row,")):
        table.main(["1", "--runs", str(runs), "--format", form])
        assert capsys.readouterr().out.startswith(start)
    table.main(["1", "--runs", str(runs)])
    assert "Table 1. From vanilla solutions" in capsys.readouterr().out
    table.main(["1", "--runs", str(runs), "--format", "png", "--out", str(tmp_path / "t.png")])
    assert (tmp_path / "t.png").stat().st_size > 1000
    table.main(["6", "--runs", str(runs), "--format", "csv", "--out", str(tmp_path / "t.csv")])
    assert len(list(csv.reader((tmp_path / "t.csv").read_text().splitlines()))) == 21


def test_all_tables_are_written(runs, tmp_path) -> None:
    out = tmp_path / "out"
    table.main(["--all", "--world", "scenes", "--runs", str(runs), "--out", str(out)])
    assert sorted(p.name for p in out.glob("table[1-9].*")) == sorted(
        f"table{n}.{end}" for n in range(1, 10) for end in ("md", "tex", "csv")
    )
    text = (out / "tables.md").read_text()
    assert [line.split(".")[0] for line in text.splitlines() if line.startswith("## ")] == [
        f"## Table {n}" for n in range(1, 10)
    ]
    for picture in ("table4_ratios.png", "table6_grid.png"):
        assert f"]({picture})" in text
        assert (out / picture).is_file()


def test_either_a_table_or_all_is_required(capsys) -> None:
    for words in ([], ["1", "--all"]):
        with pytest.raises(SystemExit):
            table.main(words)
        assert "give the number of a table, or --all" in capsys.readouterr().err


def test_an_unknown_table_or_world_gives_a_short_error(runs, capsys) -> None:
    for words, said in ((["12"], "error: table 12: "), (["1", "--world", "mars"], "error: world 'mars': ")):
        with pytest.raises(SystemExit):
            table.main([*words, "--runs", str(runs)])
        assert capsys.readouterr().err.startswith(said)
