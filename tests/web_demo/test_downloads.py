"""The downloaded files agree with the map."""

from __future__ import annotations

import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from opsnet.data.panoptic_png import decode_ids
from opsnet.web_demo import downloads
from opsnet.web_demo.downloads import BROKEN_OFF, IDLE, make_room, new_folder, private_folder, write_downloads


def test_the_files_are_a_panoptic_prediction(named_map, tmp_path) -> None:
    overlay, panoptic, listed = write_downloads(tmp_path, "my.cat.jpg", np.zeros((6, 8, 3), np.uint8), named_map)
    with Image.open(panoptic) as ids, Image.open(overlay) as drawn:
        assert (decode_ids(ids) == named_map.ids.numpy()).all()
        assert drawn.mode == "RGB"
    data = json.loads(listed.read_text())
    assert [c["name"] for c in data["categories"]] == ["sea", "<b>cat</b>"]
    assert data["images"][0]["width"] == 8
    segments = data["annotations"][0]["segments_info"]
    assert [(s["id"], s["category_id"], s["area"], s["bbox"]) for s in segments] == [
        (1, 1, 20, [0, 0, 4, 5]), (2, 2, 20, [4, 0, 4, 5]),
    ]  # fmt: skip
    assert data["images"][0]["file_name"] == "my.cat.jpg"
    assert [p.name for p in (overlay, panoptic)] == ["my.cat_overlay.png", "my.cat.png"]
    assert segments[1]["names"] == [["<b>cat</b>", 0.75], ["sea", 0.2]]


def test_folders_are_new_and_old_ones_are_forgotten(tmp_path) -> None:
    old, young = new_folder(tmp_path / "results"), new_folder(tmp_path / "results")
    assert old != young
    (old / "a.png").write_bytes(b"a")
    past = time.time() - IDLE - 10
    os.utime(old, (past, past))
    new_folder(tmp_path / "results")
    assert young.is_dir() and not old.exists()


def test_a_folder_that_another_visitor_removes_meanwhile_is_no_error(tmp_path, monkeypatch) -> None:
    """As ``make_room`` does for a visitor while another one's result is written."""
    old = new_folder(tmp_path / "results")
    before = Path.iterdir

    def racing(folder: Path):
        found = list(before(folder))
        old.rmdir()
        return iter(found)

    monkeypatch.setattr(Path, "iterdir", racing)
    assert new_folder(tmp_path / "results").is_dir()


def test_no_link_made_beforehand_is_followed(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(downloads.tempfile, "tempdir", str(tmp_path))
    victim = tmp_path / "victim" / "folder"
    victim.mkdir(parents=True)
    past = time.time() - IDLE - 10
    os.utime(victim, (past, past))
    (tmp_path / "opsnet-page").symlink_to(tmp_path / "victim")
    first, second = private_folder(), private_folder()
    for folder in (first, second):
        new_folder(folder / "results")
        assert folder.stat().st_mode & 0o077 == 0
    assert first != second
    assert victim.is_dir()


def written(path: Path, size: int, age: float) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)
    os.utime(path, (time.time() - age, time.time() - age))
    return path


def test_the_oldest_files_make_room(tmp_path) -> None:
    example = written(tmp_path / "e" / "scenes.png", 500, 5000)
    files = [written(tmp_path / str(age) / "a.png", 100, age) for age in (10, 20, 30, 40)]
    make_room(tmp_path, {example}, most_bytes=1000)
    assert all(map(Path.is_file, files))
    make_room(tmp_path, {example}, most_bytes=250)
    assert [file.is_file() for file in files] == [True, True, False, False]
    assert not files[3].parent.exists() and example.is_file()
    make_room(tmp_path, {example}, most_files=1)
    assert [file.is_file() for file in files] == [True, False, False, False]


def test_visitors_may_make_room_at_the_same_time(tmp_path) -> None:
    def visit() -> None:
        for _ in range(30):
            written(new_folder(tmp_path / "results") / "a.png", 1, 5)
            make_room(tmp_path, (), most_files=5)

    with ThreadPoolExecutor(8) as pool:
        for visitor in [pool.submit(visit) for _ in range(8)]:
            visitor.result()
    assert len(list(tmp_path.rglob("*.png"))) <= 5


def test_an_upload_that_broke_off_is_deleted(tmp_path) -> None:
    old = written(tmp_path / "tmpabc", 100, BROKEN_OFF + 5)
    young = written(tmp_path / "tmpdef", 100, 5)
    make_room(tmp_path, ())
    assert young.is_file() and not old.exists()
