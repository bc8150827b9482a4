"""Writable and read-only folders; disks with and without enough space."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from opsnet.diagnosis.checklist import Checklist
from opsnet.diagnosis.disk import check_folder, check_space, existing_parent


def test_a_folder_that_is_not_there_yet_is_left_so(tmp_path: Path) -> None:
    checklist = Checklist()
    assert check_folder(tmp_path / "runs" / "r50", checklist)
    assert not checklist.of("failure")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_below_a_file_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("not a folder")
    checklist = Checklist()
    assert not check_folder(tmp_path / "runs" / "r50", checklist)
    (failure,) = checklist.of("failure")
    assert f"{tmp_path / 'runs' / 'r50' / 'checkpoints'} is not writable" in failure.sentence
    assert "paths.runs=" in failure.sentence


def test_the_nearest_parent(tmp_path: Path) -> None:
    assert existing_parent(tmp_path / "a" / "b") == tmp_path
    assert existing_parent(tmp_path) == tmp_path


@pytest.mark.parametrize(("free", "enough"), [(3 * 2**30, True), (3 * 2**30 - 1, False)])
def test_three_checkpoints_must_find_room(free: int, enough: bool, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=free))
    checklist = Checklist()
    assert check_space(tmp_path / "runs", 2**30, checklist) is enough
    assert len(checklist.of("failure")) == (not enough)
    assert "checkpoints take 3.00 GiB (3 x 1.00 GiB" in checklist.results[0].sentence
