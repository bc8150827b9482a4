"""Every block of docs/masks.md runs, in order."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from documented import ROOT, blocks, run_documented
from PIL import Image

from opsnet.prediction.mask_files import SUFFIXES

PAGE = ROOT / "docs" / "masks.md"


@pytest.fixture
def folder(world: Any, lenient_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, as the page supposes it."""
    images = sorted((world.data / "scenes_0" / "scenes" / "test").glob("*.png"))[:2]
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    mask = np.zeros((96, 96), np.uint8)
    mask[10:50, 20:70] = 5
    for image in images:
        shutil.copy(image, tmp_path / "images")
        Image.fromarray(mask).save(tmp_path / "masks" / image.name)
    shutil.copy(images[0], tmp_path / "photo.png")
    square = [[10, 10, 60, 10, 60, 60, 10, 60]]
    (tmp_path / "sam.json").write_text(json.dumps([{"segmentation": square, "predicted_iou": 0.9}]))
    listed = [{"id": 40 + i, "file_name": image.name} for i, image in enumerate(images)]
    annotations = [{"id": 7, "image_id": 41, "segmentation": square}]
    (tmp_path / "instances.json").write_text(json.dumps({"images": listed, "annotations": annotations}))
    (tmp_path / "words.txt").write_text("red circle\nblue square\n")
    shutil.copy(lenient_checkpoint, tmp_path / "last.ckpt")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_python_runs(folder: Path) -> None:
    names: dict[str, Any] = {}
    found = blocks(PAGE, "python")
    for number, block in enumerate(found, start=1):
        exec(compile(block, f"block {number} of docs/masks.md", "exec"), names)
    assert len(found) == 2
    assert {i for s in names["result"].segments for i in s.source_ids} == {0, 1}
    assert {i for s in names["by_id"].segments for i in s.source_ids} == {3, 7, 12}
    assert {i for s in names["scored"].segments for i in s.source_ids} <= {0, 1}


def test_the_commands_run(folder: Path, world: Any, command: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [line for block in blocks(PAGE, "sh") for line in block.splitlines()]
    for line in lines:  # the world's CLIP takes the place of the one that would be downloaded
        words = shlex.split(line.replace("clip=rn50", f"clip=tiny clip.model.weights={world.clip} shortest=null"))
        run_documented(words, command, "device=cpu")
    assert len(lines) == 3
    for output, ids in (("named", [0]), ("named_folder", [5, 5]), ("named_by_clip", [7])):
        data = json.loads((folder / output / "panoptic.json").read_text())
        infos = [info for annotation in data["annotations"] for info in annotation["segments_info"]]
        assert [i for info in infos for i in info["source_ids"]] == ids


def test_the_page_names_the_files_that_are_read() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert all(f"| {suffix}" in text for suffix in SUFFIXES)
