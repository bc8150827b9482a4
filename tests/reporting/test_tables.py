"""The miniature tables: which of our figures stands beside which of the paper's, and how they are rendered."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from opsnet.reporting.results import Results
from opsnet.reporting.tables import Table, build_tables, paper_pq, paper_tables, to_markdown, to_rich


def rows_of(tables: tuple[Table, ...], number: str) -> dict[str, tuple[str, ...]]:
    """Rows of one table by their first cell."""
    table = next(t for t in tables if t.title.startswith(f"Table {number}."))
    return {row[0]: row[1:] for row in table.rows}


def test_five_tables_in_the_papers_order(main, baseline):
    titles = [table.title.split(".")[0] for table in build_tables(main, baseline)]
    assert titles == ["Table 1", "Table 4", "Table 5", "Table 6", "Table 7"]


def test_table_1_takes_rows_2_to_5_from_the_model_without_cross_attention(main, baseline):
    rows = rows_of(build_tables(main, baseline), "1")
    assert rows["2 CLIP Embeds"] == ("49.0", "34.0", "32.0", "33.0", "12.5", "4.9")
    assert rows["3 CLIP Embeds + Mask Filter"] == ("54.0", "38.0", "36.0", "37.0", "22.7", "10.7")
    assert rows["4 Query Embeds"][0] == "67.0"
    assert rows["5 Query Embeds + Mask Filter"] == ("67.5", "35.5", "34.5", "35.0", "51.9", "14.5")
    assert rows["6 Query Embeds† + Mask Filter"] == ("68.0", "36.5", "35.5", "36.0", "52.4", "14.6")
    assert rows["7 OPSNet"] == ("68.0", "47.0", "45.0", "46.0", "52.4", "17.7")
    assert rows["OPSNet without cross-attention (ours)"] == ("67.5", "46.0", "44.0", "45.0", "-", "-")


def test_tables_4_5_and_7(main, baseline):
    tables = build_tables(main, baseline)
    assert rows_of(tables, "4")["Ensemble: Query + 3 CLIP"] == ("63.0", "44.0", "42.0", "43.0", "47.9", "18.1")
    assert rows_of(tables, "4")["Modulation: EF"] == ("68.0", "46.0", "44.0", "45.0", "52.4", "16.9")
    assert rows_of(tables, "5")["Cropping, N passes"] == ("22.0", "21.0", "19.0", "20.0", "19.6", "9.4")
    assert rows_of(tables, "5")["Mask Pooling, 1 pass"] == ("55.0", "39.0", "37.0", "38.0", "22.7", "10.7")
    assert rows_of(tables, "7")["CLIP, IoU"] == ("54.0", "38.0", "36.0", "37.0", "-", "-")
    assert rows_of(tables, "7")["Modulated, Cls IoU"][-2:] == ("51.4", "16.4")


def test_table_6_puts_alpha_in_rows_and_beta_in_columns(main, baseline):
    rows = rows_of(build_tables(main, baseline), "6")
    assert rows["10"] == ("45.0", "46.2", "46.0", "44.0", "42.0", "16.9", "17.5", "17.7", "16.7", "16.1")


def test_the_papers_table_6_agrees_with_its_table_4():
    paper = paper_tables()["6"]
    pq = {
        a: dict(zip(paper["beta"], line, strict=True))
        for a, line in zip(paper["alpha"], paper["ade20k_pq"], strict=True)
    }
    assert pq[10][0] == paper_pq("4", "fusion", "ade20k") == 16.9
    assert pq[10][0.5] == paper_pq("4", "full", "ade20k") == 17.7


@pytest.mark.parametrize(("dataset", "things", "stuff"), [("coco", 80, 53), ("ade20k", 100, 50)])
def test_published_pq_is_the_mean_over_things_and_stuff(dataset, things, stuff):
    # The rows whose figures do not combine in the paper itself, as the notes in paper_tables.json say.
    known = {("1", "query_filter"), ("4", "query"), ("7", "query_cls_iou"), ("5", "cropping")}
    wrong = set()
    for number in "1457":
        for key, row in paper_tables()[number]["rows"].items():
            figures = row[dataset]
            if figures:
                combined = (things * figures["PQth"] + stuff * figures["PQst"]) / (things + stuff)
                if abs(combined - figures["PQ"]) > 0.15:
                    wrong.add((number, key))
    assert wrong <= known


def test_figures_that_are_missing_are_not_run():
    tables = build_tables(Results("scenes", 0, {}), None)
    assert rows_of(tables, "1")["7 OPSNet"] == ("not run",) * 4 + ("52.4", "17.7")
    assert rows_of(tables, "1")["2 CLIP Embeds"] == ("not run",) * 4 + ("12.5", "4.9")
    assert rows_of(tables, "6")["10"][:5] == ("not run",) * 5


def test_a_row_of_another_length_is_refused():
    with pytest.raises(ValueError, match="1 cells for 2 columns"):
        Table("T", "", ("a", "b"), (("x",),))


def test_markdown():
    table = Table("T", "How to read it.", ("name", "PQ"), (("a|b", "1.0"), ("c", "not run")))
    assert to_markdown(table) == (
        "## T\n\n| name | PQ |\n| :--- | ---: |\n| a\\|b | 1.0 |\n| c | not run |\n\nHow to read it.\n"
    )


def test_rich_shows_every_cell_in_a_terminal_of_80_columns(main, baseline):
    for table in build_tables(main, baseline):
        console = Console(file=io.StringIO(), width=80)
        console.print(to_rich(table))
        text = console.file.getvalue()
        assert "…" not in text
        for row in table.rows:
            assert all(cell.split()[-1] in text for cell in row)


def test_rich_prints_brackets_as_they_are():
    console = Console(file=io.StringIO(), width=80)
    console.print(to_rich(Table("T", "", ("name",), (("[bold]x",),))))
    assert "[bold]x" in console.file.getvalue()
