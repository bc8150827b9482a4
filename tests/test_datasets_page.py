"""Every opsnet-prepare command of docs/datasets.md runs, on a folder as the page supposes it."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from documented import ROOT, commands, run_documented
from official_trees import (
    ade20k_2021_tree,
    ade20k_tree,
    bdd100k_tree,
    camvid_tree,
    cityscapes_tree,
    coco_stuff_tree,
    imagenet21k_tree,
    lvis_tree,
    mapillary_tree,
    pascal_context_tree,
    voc_2012_tree,
)
from official_trees import coco_tree as official_coco_tree
from own_exports import LABELMAP, cvat_tree, palette, studio_tree, voc_tree, yolo_tree
from own_sets import coco_tree, grid, labelme_tree, masks_tree, read, save

PAGE = ROOT / "docs" / "datasets.md"
LINES = [line for line in commands(PAGE) if line.startswith("opsnet-prepare ") and "KIND" not in line]
OWN = [line for line in LINES if line.startswith("opsnet-prepare own ")]
OFFICIAL: dict[str, tuple[Callable[[Path], object], str]] = {
    "opsnet-prepare ade20k ADEChallengeData2016": (ade20k_tree, "ADEChallengeData2016"),
    "opsnet-prepare cityscapes FOLDER": (cityscapes_tree, "FOLDER"),
    "opsnet-prepare pascal_context FOLDER": (pascal_context_tree, "FOLDER"),
    "opsnet-prepare ade20k_847 ADE20K_2021_17_01": (ade20k_2021_tree, "ADE20K_2021_17_01"),
    "opsnet-prepare bdd100k bdd100k": (bdd100k_tree, "bdd100k"),
    "opsnet-prepare coco_stuff data/coco": (coco_stuff_tree, "data/coco"),
    "opsnet-prepare voc FOLDER": (voc_2012_tree, "FOLDER"),
    "opsnet-prepare lvis data/coco": (lvis_tree, "data/coco"),
    "opsnet-prepare camvid FOLDER": (camvid_tree, "FOLDER"),
    "opsnet-prepare coco": (official_coco_tree, "data/coco"),
    "opsnet-prepare mapillary_vistas": (mapillary_tree, "data/mapillary_vistas"),
    "opsnet-prepare imagenet": (
        lambda root: save(root / "val" / "1.JPEG", np.zeros((4, 4, 3), np.uint8)),
        "data/imagenet",
    ),
    "opsnet-prepare imagenet21k": (imagenet21k_tree, "data/imagenet21k"),
}
MENTIONED = {"opsnet-prepare own", "opsnet-prepare NAME"}


def test_every_command_is_tested() -> None:
    assert set(LINES) == {*OWN, *OFFICIAL, *MENTIONED}
    assert len(OWN) == 12


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder; data/ is the folder of the datasets."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPSNET_DATA", "data")
    return tmp_path


@pytest.mark.parametrize("line", OFFICIAL)
def test_official_datasets(line: str, folder: Path, command) -> None:
    tree, where = OFFICIAL[line]
    tree(folder / where)
    run_documented(shlex.split(line), command)


def coco_json(path: str, change: Callable[[dict[str, Any]], Any] = lambda content: None) -> None:
    """COCO's instances as one file, with their images in images/."""
    coco_tree(Path(), change)
    Path("instances.json").rename(path)


def all_crowd(content: dict[str, Any]) -> None:
    for annotation in content["annotations"]:
        annotation["iscrowd"] = 1


def uploaded(content: dict[str, Any]) -> None:
    content["images"][0]["file_name"] = "images\\1a2b3c4d-one.jpg"


def roboflow() -> None:
    coco_json("instances.json")
    Path("images").rename("train")
    Path("instances.json").rename("train/_annotations.coco.json")


def yolo(*, has_yaml: bool) -> None:
    yolo_tree(Path())
    if has_yaml:
        for path in Path("set").iterdir():
            shutil.move(path, ".")
    else:
        Path("set/data.yaml").unlink()
        Path("set").rename("yolo_folder")
        Path("names.txt").write_text("cat\ngrass\n")


def voc(name: str) -> None:
    """The page's VOC has VOC's own ids, and CVAT's has colours."""
    voc_tree(Path())
    path = Path("voc/SegmentationClass/one.png")
    if name == "VOC2012":
        palette(grid("3333.... " * 3 + "....7777 " * 3)).save(path)
    else:
        colours = np.array([[0, 0, 0], [1, 2, 3], [4, 5, 6]], np.uint8)
        save(path, colours[grid("1111.... " * 3 + "....2222 " * 3)])
        Path("voc/labelmap.txt").write_text(LABELMAP)
    Path("voc").rename(name)


EXPORTS: dict[str, Callable[[], object]] = {
    "cvat images annotations.xml": lambda: cvat_tree(Path()),
    "coco images instances_default.json --crowd instances": lambda: coco_json("instances_default.json", all_crowd),
    "voc mask_export": lambda: voc("mask_export"),
    "coco train train/_annotations.coco.json": roboflow,
    "yolo data.yaml": lambda: yolo(has_yaml=True),
    "yolo yolo_folder --vocabulary names.txt": lambda: yolo(has_yaml=False),
    "label_studio images project.json": lambda: (studio_tree(Path()), Path("export.json").rename("project.json")),
    "coco images result.json --by-name": lambda: coco_json("result.json", uploaded),
    "labelme labelme_folder": lambda: (labelme_tree(Path()), Path("own").rename("labelme_folder")),
    "voc VOC2012": lambda: voc("VOC2012"),
    "coco images instances.json": lambda: coco_json("instances.json"),
    "masks images masks --vocabulary classes.json": lambda: masks_tree(Path()),
}


@pytest.mark.parametrize("line", OWN)
def test_own_masks(line: str, folder: Path, command) -> None:
    EXPORTS[line.removeprefix("opsnet-prepare own ").removesuffix(" --set train")]()
    run_documented(shlex.split(line), command)
    found = read(folder / "data" / "own")
    assert any(not crowd for _, segments in found.values() for _, _, crowd, *_ in segments)
    assert json.loads((folder / "data" / "own" / "vocabulary.json").read_text())["categories"]
