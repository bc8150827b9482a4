"""The paper's tables beside ours as text."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from table_runs import write_two_tables

from opsnet.paper.comparison import compare
from opsnet.paper.runs import Runs
from opsnet.paper.tables import FIELDS, paper_table, to_csv
from opsnet.paper.worlds import load_world
from opsnet.visualization.tables import to_markdown

REAL, SCENES = load_world("real"), load_world("scenes")


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(write_two_tables(tmp_path / "runs"))


def rows(runs: Runs, table: int, world, **options) -> dict[str, tuple[str, ...]]:
    return {row[0]: row[1:] for row in paper_table(compare(table, runs, world), world, **options).rows}


def test_the_paper_ours_and_the_difference(runs) -> None:
    table = paper_table(compare(1, runs, REAL), REAL)
    assert table.columns == (
        "Row", "Setting", "COCO PQ paper", "ours", "diff.", "ADE20K PQ paper", "ours", "diff."
    )  # fmt: skip
    found = rows(runs, 1, REAL)
    assert found["7"] == ("OPSNet", "52.4", "52.0", "-0.4", "17.7", "18.0", "+0.3")
    assert found["2"] == ("CLIP Embeds", "12.5", "not run", "-", "4.9", "not run", "-")
    assert found["1"] == ("Mask2Former", "51.9", "not run", "-", "-", "-", "-")


def test_another_world_stands_beside_the_paper_without_a_difference(runs) -> None:
    table = paper_table(compare(1, runs, SCENES), SCENES)
    assert table.columns[2:] == ("COCO PQ paper", "scenes PQ ours", "ADE20K PQ paper", "scenes_novel PQ ours")
    assert rows(runs, 1, SCENES)["7"] == ("OPSNet", "52.4", "52.0", "17.7", "18.0")
    assert "the values cannot" in table.caption
    assert "ADE20K / scenes_novel PQ 1 of 1" in table.caption


def test_all_measures(runs) -> None:
    assert len(rows(runs, 2, REAL, all_measures=True)["4"]) == 1 + 3 * 5 * 3
    assert len(rows(runs, 2, REAL)["4"]) == 1 + 3 * 3


def test_notes_say_where_figures_come_from_and_what_to_run(runs) -> None:
    notes = paper_table(compare(1, runs, REAL), REAL).notes
    assert f"Rows 6, 7: {runs.folder / 'a'} (seed 3)." in notes
    name = "opsnet_r50_no_clip_attention"
    assert (
        f"Rows 2 to 5, 8 not run: `opsnet-train experiment={name}`, then `opsnet-evaluate table=1 world=real "
        f"checkpoint=runs/{name}/DATE/checkpoints/last.ckpt`."
    ) in notes
    assert any(note.startswith("Row 1 not run: `python -m scripts.published.score_mask2former") for note in notes)
    assert any(note.startswith("Rows 6, 7 incomplete: ") for note in notes)  # PQth and others are missing


def test_a_row_of_ours_has_no_value_of_the_paper(runs) -> None:
    title = "OPSNet without cross-attention (ours)"
    assert rows(runs, 1, REAL)["8"] == (title, "-", "not run", "-", "-", "not run", "-")
    assert rows(runs, 1, SCENES)["8"] == (title, "-", "not run", "-", "not run")
    lines = csv.DictReader(io.StringIO(to_csv(compare(1, runs, REAL))))
    assert {(line["paper"], line["difference"]) for line in lines if line["row"] == "8"} == {("", "")}


def test_a_grid_for_table_6(runs) -> None:
    table = paper_table(compare(6, runs, SCENES), SCENES)
    assert table.columns[:3] == ("alpha", "paper 0", "paper 0.25")
    assert rows(runs, 6, SCENES)["0"] == (
        "14.7", "16.1", "16.3", "15.1", "14.2", "14.0", "14.2", "14.5", "14.8", "15.0"
    )  # fmt: skip
    assert rows(runs, 6, REAL)["0"][10] == "-0.7"
    assert rows(runs, 6, REAL)["5"][5:] == ("not run",) * 5 + ("-",) * 5
    assert any("alpha 10, beta 0: EF of Table 4" in note for note in table.notes)


def test_the_rule_for_absent_classes_stands_under_miou(runs) -> None:
    assert "means over the classes with ground-truth pixels" in paper_table(compare(8, runs, REAL), REAL).caption
    assert "ground-truth pixels" not in paper_table(compare(2, runs, REAL), REAL).caption


def test_stand_ins_are_called_so(runs) -> None:
    assert "small substitutes" in paper_table(compare(2, runs, SCENES), SCENES).caption
    assert "small substitutes" not in paper_table(compare(2, runs, REAL), REAL).caption
    assert "no published weights" in to_markdown(paper_table(compare(9, runs, SCENES), SCENES))


def test_csv_has_every_figure(runs) -> None:
    lines = list(csv.DictReader(io.StringIO(to_csv(compare(1, runs, REAL)))))
    assert tuple(lines[0]) == FIELDS
    assert len(lines) == 5 + 6 * 10 + 10  # row 8 is ours, with the columns of the others
    (line,) = [x for x in lines if (x["row"], x["paper_set"], x["measure"]) == ("7", "ade20k", "PQ")]
    assert (line["paper"], line["ours"], line["difference"]) == ("17.7", "18.0", "0.3")
    assert line["setting"] == "full/cls_iou"
    (missing,) = [x for x in lines if (x["row"], x["measure"]) == ("1", "PQ")]
    assert missing["ours"] == missing["difference"] == missing["run"] == ""
    assert missing["commands"].startswith("python -m scripts.published.score_mask2former")
