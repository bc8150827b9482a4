"""What the data doctor prints and writes: offenders by name, all findings as CSV, and a sheet of samples a set."""

from __future__ import annotations

import csv
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from planted_defects import DEFECTS, Defect, PlantedSet, sound_set

from opsnet.data import findings as kinds
from opsnet.data.findings import Finding
from opsnet.diagnosis.inspection_report import Ledger, report_data


@pytest.fixture
def made(tmp_path: Path) -> PlantedSet:
    return sound_set(tmp_path / "data")


@pytest.fixture
def printed(tmp_path: Path, capsys):
    """(builders, options) -> number of errors, and what was printed."""

    def run(builders, **options) -> tuple[int, str]:
        errors = report_data(builders, tmp_path / "out", **options)
        return errors, capsys.readouterr().out

    return run


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_sound_set(made, printed, tmp_path):
    errors, text = printed({"train": made.builder, "val": None})
    assert errors == 0
    assert "3 images, 3 annotations inspected, 8 segments (4 things, 2 stuff, 2 crowd)" in text
    assert "images per category (3 occur): cat 2, grass [short] 2, dog 2" in text
    assert "no findings" in text
    assert rows(tmp_path / "out" / "findings.csv") == []
    assert [(r["name"], r["pictures"]) for r in rows(tmp_path / "out" / "categories.csv")] == [
        ("cat", "2"), ("grass [short]", "2"), ("dog", "2"),
    ]  # fmt: skip
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "categories.csv", "findings.csv", "samples_train.png",
    ]  # fmt: skip


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda d: f"{d.kind.name}-{d.offender}")
def test_a_defect_is_named_and_written(defect: Defect, made, printed, tmp_path):
    defect.plant(made)
    errors, text = printed({"train": made.builder}, samples=0)
    assert (errors > 0) == (defect.kind.severity == "error")
    assert f"{defect.kind.severity} {defect.kind.name}: 1 ({defect.kind.fix})" in text
    heading = text.index(f"{defect.kind.name}: 1")
    assert f"{defect.offender}: " in text[heading:].splitlines()[1]
    written = [r for r in rows(tmp_path / "out" / "findings.csv") if r["kind"] == defect.kind.name]
    assert [(r["set"], r["severity"]) for r in written] == [("train", defect.kind.severity)]
    assert written[0]["where"].endswith(defect.offender)


def test_first_examples_are_printed_and_all_written(made, printed, tmp_path):
    def all_wrong(data):
        for annotation in data["annotations"]:
            for segment in annotation["segments_info"]:
                segment["area"] += 1

    made.edit(all_wrong)
    errors, text = printed({"train": made.builder}, examples=3)
    assert errors == 8
    assert text.count("in the json, but") == 3
    assert "wrong area: 8 (" in text
    assert "... and 5 more" in text
    assert len(rows(tmp_path / "out" / "findings.csv")) == 8


def test_a_ledger_keeps_no_more_than_its_examples():
    seen = []
    ledger = Ledger(2, seen.append)
    for i in range(100):
        ledger.take(Finding(kinds.WRONG_AREA, f"{i}.png", "x"))
    ledger.take(Finding(kinds.WRONG_BOX, "0.png", "x"))
    assert [f.where for f in ledger.first[kinds.WRONG_AREA]] == ["0.png", "1.png"]
    assert (ledger.total("error"), ledger.total("warning"), len(seen)) == (100, 1, 101)


def test_a_set_that_stands_twice_is_examined_once(made, printed, tmp_path):
    other = sound_set(tmp_path / "other")
    other.annotations.unlink()
    sets = {"train": other.builder, "val": made.builder, "test/coco": made.builder, "labels": partial(dict)}
    errors, text = printed(sets)
    assert errors == 1  # and the sets after the broken one were examined all the same
    assert f"{other.annotations}: does not exist" in text
    assert text.count("3 annotations inspected") == 1
    assert "val, test/coco" in text
    assert "not inspected labels: a set of dict" in text
    assert (tmp_path / "out" / "samples_val.png").is_file()
    assert not (tmp_path / "out" / "samples_train.png").is_file()


def test_the_sheet_has_two_pairs_a_row_and_shows_the_truth(made, printed, tmp_path):
    printed({"test/coco": made.builder})
    with Image.open(tmp_path / "out" / "samples_test_coco.png") as sheet:
        pixels = sheet.convert("RGB")
    assert pixels.width == 4 * (360 + 12) + 12
    plain, drawn = (np.asarray(pixels.crop((left + 80, 60, left + 160, 200))) for left in (12, 384))
    assert plain.max() == 0
    assert drawn.mean() > 30  # the cat's colour over black
    assert pixels.getpixel((pixels.width - 100, pixels.height - 100)) == (255, 255, 255)  # three pairs in two rows
