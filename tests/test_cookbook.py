"""Every command of docs/cookbook.md runs, in order, on the synthetic world."""

from __future__ import annotations

import csv
import json
import shlex
import shutil
from pathlib import Path

import pytest
from documented import ROOT, blocks, class_masks, run_documented
from small_training import SMALL

PAGE = ROOT / "docs" / "cookbook.md"


@pytest.fixture
def folder(world, lenient_checkpoint, command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, as the page supposes it."""
    novel, street = (world.data / "scenes_0" / name for name in ("scenes_novel", "scenes_street"))
    categories = class_masks(novel, "val", tmp_path / "images", tmp_path / "masks")
    class_masks(novel, "test", tmp_path / "more_images", tmp_path / "more_masks")
    (tmp_path / "classes.json").write_text(json.dumps({"categories": categories}))
    shutil.copytree(street / "test", tmp_path / "other" / "images")
    shutil.copy(street / "annotations" / "panoptic_test.json", tmp_path / "other" / "panoptic.json")
    shutil.copytree(street / "annotations" / "panoptic_test", tmp_path / "other" / "panoptic")
    shutil.copy(lenient_checkpoint, tmp_path / "last.ckpt")
    shutil.copytree(world.data / "clip", tmp_path / "data" / "clip")
    (tmp_path / "words.txt").write_text("red circle, scarlet disc\ngreen stripes\n")
    for block in blocks(PAGE, "yaml"):
        path = tmp_path / block.splitlines()[0].removeprefix("# ")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.split("\n", 1)[1])
    monkeypatch.setenv("OPSNET_DATA", str(tmp_path / "data"))
    return tmp_path


def test_the_commands_run(folder: Path, command) -> None:
    lines = [shlex.split(line) for block in blocks(PAGE, "sh") for line in block.splitlines()]
    for words in lines:
        small = [word for word in SMALL if not word.startswith("matching")] if words[0] == "opsnet-train" else []
        run_documented(words, command, *small)
    assert len(lines) == 10
    with (folder / "mine" / "metrics.csv").open() as file:
        assert any(row.get("probe/other/PQ") for row in csv.DictReader(file))
    assert (folder / "found" / "segments.csv").is_file()
    assert "own/full/cls_iou/PQ" in json.loads((folder / "after" / "results.json").read_text())["metrics"]
