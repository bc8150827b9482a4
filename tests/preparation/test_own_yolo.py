"""Sets with YOLO's polygons: worked out by hand, and real ones against pycocotools' own rasterisation."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from own_exports import YOLO_ROWS, yolo_tree
from own_sets import Prepare, grid, read, refused, vocabulary_of
from PIL import Image
from pycocotools import mask as runs

from opsnet.data.panoptic_png import read_ids

REAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "photos" / "coco128_seg"


def test_yolo(tmp_path: Path, prepare: Prepare) -> None:
    prepare(*yolo_tree(tmp_path))
    found = read(tmp_path / "dst")
    assert np.array_equal(found["a/one"][0], grid("111111.. 111111.. 111111.. ..112222 ..112222 ..112222"))
    assert found["a/one"][1] == [(1, 2, 0, 24, [0, 0, 6, 6]), (2, 1, 0, 12, [4, 3, 4, 3])]
    assert not found["two"][0].any() and found["two"][1] == []
    assert vocabulary_of(tmp_path / "dst") == [(1, "cat", 1), (2, "grass", 0)]


@pytest.mark.parametrize(
    ("images", "more"), [("../images/train", ""), ("train", "path: images\n"), ("images/train", "path: .\n")]
)
def test_paths_of_the_yaml(tmp_path: Path, prepare: Prepare, images: str, more: str) -> None:
    """As Roboflow writes them, which begin with ../ although the folder is beside the yaml, and below `path`."""
    arguments = yolo_tree(tmp_path, names="{0: cat, 1: grass}", images=images)
    arguments[1].write_text(arguments[1].read_text() + more)
    prepare(*arguments)
    assert len(read(tmp_path / "dst")) == 2


def test_folders_without_a_yaml(tmp_path: Path, prepare: Prepare) -> None:
    arguments = yolo_tree(tmp_path)
    folder = tmp_path / "set"
    refused(prepare, ["yolo", folder], "has a data.yaml: give")
    arguments[1].unlink()
    refused(prepare, ["yolo", folder], "neither data.yaml nor classes.txt: give --vocabulary")
    (tmp_path / "names.txt").write_text("cat\ngrass\n")
    prepare("yolo", folder, "--vocabulary", tmp_path / "names.txt")
    (folder / "classes.txt").write_text("cat\ngrass\n\n")
    prepare("yolo", folder, "--dst", tmp_path / "other")
    ours, others = (read(tmp_path / name)["a/one"] for name in ("dst", "other"))
    assert np.array_equal(ours[0], others[0]) and ours[1] == others[1]


ERRORS = {
    "class": ("2 0 0 1 0 1 1", "line 1 of", "has class 2, but there are 2 names, for 0 to 1"),
    "half": ("0.5 0 0 1 0 1 1", "line 1 of", "has class 0.5"),
    "text": ("0 0 0 1 0 1 1\ncat 0 0 1 0 1 1", "line 2 of", "is not a class and coordinates"),
    "pixels": ("0 0 0 80 0 80 60", "line 1 of", "('cat')", "not relative to the image's size"),
    "odd": ("0 0 0 1 0 1 1 1", "a polygon of 7 numbers"),
    "nan": ("0 0 0 nan 0 1 1", "not relative to the image's size"),
    "box": ("0 0.5 0.5 1 1", "a box: it has four numbers", "--skip-without-mask"),
    "nothing": ("", "has no label of an image in"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_invalid_rows_are_refused(tmp_path: Path, prepare: Prepare, name: str) -> None:
    rows, *parts = ERRORS[name]
    refused(prepare, yolo_tree(tmp_path, rows), *parts)


def test_boxes_beside_polygons_can_be_left_out(tmp_path: Path, prepare: Prepare) -> None:
    said = prepare(*yolo_tree(tmp_path, "0 0.5 0.5 1 1\n" + YOLO_ROWS), "--skip-without-mask")
    assert "left out 1 without a mask; the first: line 1 of" in said
    assert [segment[1] for segment in read(tmp_path / "dst")["a/one"][1]] == [2, 1]


def test_invalid_yamls_are_refused(tmp_path: Path, prepare: Prepare) -> None:
    arguments = yolo_tree(tmp_path)
    refused(prepare, [*arguments, "--set", "val"], "has no folder of images 'val': give --set one of train")
    for text, sentence in (
        ("train: images/no\nnames: [a]", "no, which", ),
        (f"train: {'a' * 300}\nnames: [a]", "which", ),
        ("train: images/train\nnames: {1: a}", "is not numbered from 0"),
        ("train: images/train", "is not a list of names"),
        ("train: images/train\nnames: [a, '']", "is not a list of names"),
        ("[" * 5000, "is nested deeper than 64 levels in line 1"),
        ("- 1", "is not YOLO's data.yaml"),
    ):  # fmt: skip
        arguments[1].write_text(text)
        refused(prepare, arguments, "data.yaml", sentence)


@pytest.mark.skipif(not REAL.is_dir(), reason=f"real photographs are not at {REAL}")
def test_real_polygons_are_as_pycocotools_draws_them(tmp_path: Path, prepare: Prepare) -> None:
    """Every image of coco128_seg, painted here by plain comparison of areas."""
    prepare("yolo", REAL, "--set", "train2017", "--vocabulary", "coco", "--workers", 1)
    annotations = json.loads((tmp_path / "dst" / "panoptic_train2017.json").read_text())["annotations"]
    assert len(annotations) == 128
    segments = 0
    for record in annotations:
        stem = record["file_name"].removesuffix(".png")
        with Image.open(REAL / "images" / "train2017" / f"{stem}.jpg") as image:
            width, height = image.size
        path = REAL / "labels" / "train2017" / f"{stem}.txt"
        rows = [row.split() for row in path.read_text().splitlines()] if path.is_file() else []
        drawn = []
        for row in rows:
            points = np.array(row[1:], dtype=float) * np.resize([width, height], len(row) - 1)
            drawn.append(runs.decode(runs.frPyObjects([points.tolist()], height, width))[..., 0].astype(bool))
        smallest = np.full((height, width), np.inf)
        owner = np.zeros((height, width), int)
        for number, mask in enumerate(drawn, start=1):  # the smaller one is in front, the later one if they are equal
            front = mask & (mask.sum() <= smallest)
            smallest[front], owner[front] = mask.sum(), number
        ids = read_ids(tmp_path / "dst" / "panoptic_train2017" / record["file_name"])
        assert np.array_equal(ids, owner)
        classes = {s["id"]: s["category_id"] for s in record["segments_info"]}
        assert set(classes) == set(np.unique(owner).tolist()) - {0}
        segments += len(classes)
        things = [c["id"] for c in COCO if c["isthing"]]
        assert all(category == things[int(rows[number - 1][0])] for number, category in classes.items())
    assert segments > 800


COCO = json.loads((Path(__file__).parents[2] / "opsnet" / "vocabulary" / "lists" / "coco.json").read_text())[
    "categories"
]
