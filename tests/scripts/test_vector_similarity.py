"""Similarities from stored vectors, worked out by hand on a circle, where cosines follow from angles."""

from __future__ import annotations

import json
import re
from math import cos, radians
from pathlib import Path

import numpy as np
import pytest

from scripts.paper import vector_similarity


def write(folder: Path, name: str, angles: dict[str, float], length: float = 3.0) -> list[str]:
    """Writes vectors in half precision and their names; returns the two files as arguments."""
    vectors = [[length * np.cos(radians(a)), length * np.sin(radians(a))] for a in angles.values()]
    np.save(folder / f"{name}.npy", np.array(vectors, dtype=np.float16))
    (folder / f"{name}.json").write_text(json.dumps(list(angles)))
    return [str(folder / f"{name}.npy"), str(folder / f"{name}.json")]


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_table_by_hand(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train = write(tmp_path, "train", {"cat": 0, "sea": 90})
    target = write(tmp_path, "target", {"cat": 0, "kitten": 20, "lake": 80, "sand": 50}, length=1.0)
    vector_similarity.main(["--train", *train, "--target", *target, "--alpha", "5", "--count", "2"])
    lines = capsys.readouterr().out.splitlines()
    head, own, row = cells(lines[0]), cells(lines[2]), cells(lines[3])
    assert head[3] == "5 (1 - s)"
    assert own == ["train", "2", "-", "-", "-", "-", "0.000", "0.000"]
    s = (1 + cos(radians(20)) + cos(radians(10)) + cos(radians(40))) / 4
    assert row[:2] == ["target", "4"]
    assert [float(v) for v in row[2:4]] == pytest.approx([s, 5 * (1 - s)], abs=6e-3)
    assert row[4] == "25 %"
    assert float(row[5]) == pytest.approx((4 * s - 1) / 3, abs=1e-3)
    pairs = np.mean([cos(radians(d)) for d in (20, 80, 50, 60, 30, 30)])
    nearest = np.mean([cos(radians(d)) for d in (20, 20, 30, 30)])
    assert [float(v) for v in row[6:]] == pytest.approx([pairs, nearest], abs=1e-3)
    assert cells(lines[-1]) == ["target", "lake (sea 0.98), kitten (cat 0.94)", "sand (sea 0.77), kitten (cat 0.94)"]


def test_a_third_file_selects_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train = write(tmp_path, "train", {"dog": 10, "cat": 0, "sea": 90})
    (tmp_path / "rows.json").write_text('["sea", "cat"]')
    target = write(tmp_path, "target", {"puppy": 10})
    vector_similarity.main(["--train", *train, str(tmp_path / "rows.json"), "--target", *target, "--target", *train])
    lines = capsys.readouterr().out.splitlines()
    assert cells(lines[2])[1] == "2"
    assert cells(lines[3])[2:6] == ["0.985", "0.15", "0 %", "0.985"]
    assert cells(lines[4])[4] == "67 %"


def test_the_training_names_themselves_are_all_seen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train = write(tmp_path, "train", {"cat": 0, "sea": 90, "dog": 33})
    vector_similarity.main(["--train", *train, "--target", *train])
    assert cells(capsys.readouterr().out.splitlines()[3])[2:6] == ["1.000", "0.00", "100 %", "-"]


def test_inconsistent_files_are_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train = write(tmp_path, "train", {"cat": 0, "sea": 90})
    other = write(tmp_path, "other", {"cat": 0})
    (tmp_path / "rows.json").write_text('["cow"]')
    for arguments, message in (
        ([train[0], other[1]], "but .*other.json has 1 names"),
        ([*train, str(tmp_path / "rows.json")], r"rows.json asks for \['cow'\], which .*train.json lacks"),
        ([str(tmp_path / "no.npy"), train[1]], "no.npy"),
        (train[:1], "take two files"),
    ):
        with pytest.raises(SystemExit) as stop:
            vector_similarity.main(["--train", *arguments, "--target", *train])
        assert stop.value.code == 2
        assert re.search(message, capsys.readouterr().err)
