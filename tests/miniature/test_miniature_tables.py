"""The miniature tables: which of our figures stands beside which of the paper's."""

from __future__ import annotations

import io

from rich.console import Console

from opsnet.metrics.results import Results
from opsnet.miniature.tables import build_tables, paper_grid
from opsnet.visualization.tables import Table, to_rich


def rows_of(tables: tuple[Table, ...], number: str) -> dict[str, tuple[str, ...]]:
    """Rows of one table by their first cell."""
    table = next(t for t in tables if t.title.startswith(f"Table {number}."))
    return {row[0]: row[1:] for row in table.rows}


def test_six_tables_in_the_papers_order(main, baseline):
    titles = [table.title.split(".")[0] for table in build_tables(main, baseline)]
    assert titles == ["Table 1", "Table 3", "Table 4", "Table 5", "Table 6", "Table 7"]


def test_table_1_takes_rows_2_to_5_from_the_model_without_cross_attention(main, baseline):
    rows = rows_of(build_tables(main, baseline), "1")
    assert rows["2 CLIP Embeds"] == ("49.0", "34.0", "32.0", "33.0", "12.5", "4.9")
    assert rows["3 CLIP Embeds + Mask Filter"] == ("54.0", "38.0", "36.0", "37.0", "22.7", "10.7")
    assert rows["4 Query Embeds"][0] == "67.0"
    assert rows["5 Query Embeds + Mask Filter"] == ("67.5", "35.5", "34.5", "35.0", "51.9", "14.5")
    assert rows["6 Query Embeds† + Mask Filter"] == ("68.0", "36.5", "35.5", "36.0", "52.4", "14.6")
    assert rows["7 OPSNet"] == ("68.0", "47.0", "45.0", "46.0", "52.4", "17.7")
    assert rows["OPSNet without cross-attention (ours)"] == ("67.5", "46.0", "44.0", "45.0", "-", "-")


def test_table_3_sets_the_fine_tuned_models_beside_the_one_they_come_from(made, main, baseline):
    rows = rows_of(build_tables(main, baseline), "3")
    assert rows == {
        "OPSNet": ("68.0", "47.0", "45.0", "46.0", "52.4", "17.7"),
        "as many steps without labels (ours)": ("69.0", "47.5", "45.5", "46.5", "-", "-"),
        "+ Cls Sup": ("68.5", "49.0", "47.0", "48.0", "51.3", "18.2"),
        "+ Cls Sup + Mask Sup": ("67.5", "50.0", "48.0", "49.0", "51.7", "19.0"),
        "the same with distillation (ours)": ("68.5", "49.5", "47.5", "48.5", "-", "-"),
    }
    untuned = rows_of(build_tables(made.results(main.metrics, tuned={}), baseline), "3")
    assert untuned["+ Cls Sup"] == ("not run",) * 4 + ("51.3", "18.2")


def test_tables_4_5_and_7(main, baseline):
    tables = build_tables(main, baseline)
    assert rows_of(tables, "4")["Ensemble: Query + 3 CLIP"] == ("63.0", "44.0", "42.0", "43.0", "47.9", "18.1")
    assert rows_of(tables, "4")["Modulation: EF"] == ("68.0", "46.0", "44.0", "45.0", "52.4", "16.9")
    assert rows_of(tables, "5")["Cropping, N passes"] == ("22.0", "21.0", "19.0", "20.0", "19.6", "9.4")
    assert rows_of(tables, "5")["Mask Pooling, 1 pass"] == ("55.0", "39.0", "37.0", "38.0", "22.7", "10.7")
    assert rows_of(tables, "5")["Masked attention, 2 passes (ours)"] == ("57.0", "41.0", "39.0", "40.0", "-", "-")
    assert rows_of(tables, "7")["CLIP, IoU (ours)"] == ("54.0", "38.0", "36.0", "37.0", "-", "-")
    assert rows_of(tables, "7")["Modulated, Cls IoU"][-2:] == ("51.4", "16.4")


def test_table_6_puts_alpha_in_rows_and_beta_in_columns(main, baseline):
    rows = rows_of(build_tables(main, baseline), "6")
    assert rows["10"] == ("45.0", "46.2", "46.0", "44.0", "42.0", "16.9", "17.5", "17.7", "16.7", "16.1")


def test_the_papers_table_6_agrees_with_its_table_4():
    assert len(paper_grid()) == 20
    assert paper_grid()[10, 0] == 16.9  # EF
    assert paper_grid()[10, 0.5] == 17.7  # EF + LD


def test_notes_name_their_rows(main, baseline):
    table = build_tables(main, baseline)[-1]
    assert any(note.startswith("Modulated, Cls: PQth 40.6 is a misprint") for note in table.notes)


def test_figures_that_are_missing_are_not_run():
    tables = build_tables(Results("scenes", 0, {}), None)
    assert rows_of(tables, "1")["7 OPSNet"] == ("not run",) * 4 + ("52.4", "17.7")
    assert rows_of(tables, "1")["2 CLIP Embeds"] == ("not run",) * 4 + ("12.5", "4.9")
    assert rows_of(tables, "6")["10"][:5] == ("not run",) * 5


def test_rich_shows_every_cell_in_a_terminal_of_80_columns(main, baseline):
    for table in build_tables(main, baseline):
        console = Console(file=io.StringIO(), width=80)
        console.print(to_rich(table))
        text = console.file.getvalue()
        assert "…" not in text
        for row in table.rows:
            assert all(cell.split()[-1] in text for cell in row)
