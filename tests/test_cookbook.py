"""Every command of docs/cookbook.md runs, in order, on the embedded world."""

from __future__ import annotations

import csv
import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from script_loading import load_script
from small_training import SMALL

from opsnet import doctor, evaluate, predict, train
from opsnet.data.conversion import rgb_to_ids

PAGE = (Path(__file__).parent.parent / "docs" / "cookbook.md").read_text(encoding="utf-8")
COMMANDS = {
    "opsnet-predict": predict.main, "opsnet-doctor": doctor.main, "opsnet-train": train.main,
    "opsnet-evaluate": evaluate.main,
}  # fmt: skip


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def masks_of(world: Path, split: str, pictures: Path, masks: Path) -> list[dict[str, Any]]:
    """A set of the embedded world as pictures and PNGs of category ids; answers its categories."""
    data = json.loads((world / "annotations" / f"panoptic_{split}.json").read_text())
    pictures.mkdir()
    masks.mkdir()
    for annotation in data["annotations"]:
        ids = rgb_to_ids(np.asarray(Image.open(world / "annotations" / f"panoptic_{split}" / annotation["file_name"])))
        classes = np.zeros(ids.shape, np.uint8)
        for segment in annotation["segments_info"]:
            classes[ids == segment["id"]] = segment["category_id"]
        Image.fromarray(classes).save(masks / annotation["file_name"])
    for image in data["images"]:
        shutil.copy(world / split / image["file_name"], pictures)
    return data["categories"]


@pytest.fixture
def folder(world, lenient_checkpoint, command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, as the page supposes it."""
    novel, street = (world.data / "scenes_0" / name for name in ("scenes_novel", "scenes_street"))
    categories = masks_of(novel, "val", tmp_path / "pictures", tmp_path / "masks")
    masks_of(novel, "test", tmp_path / "more_pictures", tmp_path / "more_masks")
    (tmp_path / "classes.json").write_text(json.dumps({"categories": categories}))
    shutil.copytree(street / "test", tmp_path / "foreign" / "pictures")
    shutil.copy(street / "annotations" / "panoptic_test.json", tmp_path / "foreign" / "panoptic.json")
    shutil.copytree(street / "annotations" / "panoptic_test", tmp_path / "foreign" / "panoptic")
    shutil.copy(lenient_checkpoint, tmp_path / "last.ckpt")
    shutil.copytree(world.data / "clip", tmp_path / "data" / "clip")
    (tmp_path / "words.txt").write_text("red circle, scarlet disc\ngreen stripes\n")
    for block in blocks("yaml"):
        path = tmp_path / block.splitlines()[0].removeprefix("# ")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.split("\n", 1)[1])
    monkeypatch.setenv("OPSNET_DATA", str(tmp_path / "data"))
    monkeypatch.syspath_prepend(Path(__file__).parent.parent / "scripts")
    return tmp_path


def test_the_commands_run(folder: Path, command) -> None:
    lines = [shlex.split(line) for block in blocks("sh") for line in block.splitlines()]
    for name, *words in lines:
        if name == "python":
            load_script(Path(words[0]).stem).main(words[1:])
            continue
        small = [word for word in SMALL if not word.startswith("supervision")] if name == "opsnet-train" else []
        assert command(COMMANDS[name], *words, *small)[0] == 0, (name, words)
    assert len(lines) == 10
    with (folder / "mine" / "metrics.csv").open() as file:
        assert any(row.get("probe/foreign/PQ") for row in csv.DictReader(file))
    assert (folder / "found" / "segments.csv").is_file()
    assert "own/full/cls_iou/PQ" in json.loads((folder / "after" / "results.json").read_text())["metrics"]
