"""Sets in VOC's folders: worked out by hand, and real ones against Pillow's reading of the palette files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from own_exports import LABELMAP, palette, voc_tree
from own_sets import SEMANTIC, Prepare, claims_size, grid, read, refused, save, vocabulary_of
from PIL import Image

from opsnet.data.panoptic_png import read_ids
from opsnet.preparation.own_voc import standard_colour

REAL = (
    Path(__file__).resolve().parents[3]
    / "shared/data/photos/voc_labelme/examples/instance_segmentation/data_dataset_voc"
)
needs_data = pytest.mark.skipif(not REAL.is_dir(), reason=f"real photographs are not at {REAL}")


def test_colours_are_those_of_the_devkit() -> None:
    """Aeroplane, bicycle, person and void in VOC's documentation."""
    assert [standard_colour(i) for i in (0, 1, 2, 15, 255)] == [
        (0, 0, 0), (128, 0, 0), (0, 128, 0), (192, 128, 128), (224, 224, 192),
    ]  # fmt: skip


@pytest.mark.parametrize("mode", ["P", "RGB"])
def test_voc(tmp_path: Path, prepare: Prepare, mode: str) -> None:
    arguments = voc_tree(tmp_path)
    for path in (tmp_path / "voc").glob("Segmentation*/*.png"):
        Image.open(path).convert(mode).save(path) if mode == "RGB" else None
    prepare(*arguments)
    ids, segments = read(tmp_path / "dst")["one"]
    assert np.array_equal(ids, grid("........ ........ 22551155 22551155 33455555 33455555"))
    assert [segment[1:4] for segment in segments] == [(3, 1, 4), (3, 0, 4), (7, 0, 4), (7, 0, 2), (9, 0, 18)]


def test_a_labelmap_gives_names_and_colours(tmp_path: Path, prepare: Prepare) -> None:
    """As CVAT writes it; the same pixels as by ids."""
    arguments = voc_tree(tmp_path)
    colours = {0: (0, 0, 0), 255: (0, 0, 0), 9: (10, 200, 30), 3: (1, 2, 3), 7: (4, 5, 6)}
    pixels = grid(SEMANTIC, v=255, c=3, d=7)
    save(tmp_path / "voc/SegmentationClass/one.png", np.array([[colours[v] for v in row] for row in pixels], np.uint8))
    (tmp_path / "voc" / "labelmap.txt").write_text(LABELMAP)
    prepare(*arguments[:2])
    assert vocabulary_of(tmp_path / "dst") == [(1, "grass", 0), (2, "cat", 1), (3, "dog", 1)]
    ids, segments = read(tmp_path / "dst")["one"]
    assert np.array_equal(ids > 0, (pixels > 0) & (pixels < 255))
    assert sorted(segment[1:4] for segment in segments) == [(1, 0, 18), (2, 0, 4), (2, 1, 4), (3, 0, 2), (3, 0, 4)]
    (tmp_path / "voc" / "labelmap.txt").write_text(LABELMAP.replace("dog:4,5,6::\n", ""))
    refused(prepare, [*arguments[:2], "--dst", tmp_path / "b"], "one.png has the colour 4,5,6, which no class has")
    for line in ("cat:1,2::", "cat:1,2,300::", "cat", ":1,2,3::", "grass:1,2,3::", "fox:10,200,30::"):
        (tmp_path / "voc" / "labelmap.txt").write_text("grass:10,200,30::\n" + line)
        refused(prepare, [*arguments[:2], "--dst", tmp_path / "b"], "line 2 of", "labelmap.txt")


def test_lists_choose_images(tmp_path: Path, prepare: Prepare) -> None:
    arguments = voc_tree(tmp_path)
    lists = tmp_path / "voc" / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "default.txt").write_text("one\n")  # CVAT's only list
    prepare(*arguments)
    (lists / "val.txt").write_text("two\n")
    refused(prepare, [*arguments, "--set", "val"], "'two', listed in", "has no map in")
    refused(prepare, [*arguments, "--set", "test"], "has no test.txt: give --set one of default, val")
    (lists / "val.txt").write_text("\n")
    refused(prepare, [*arguments, "--set", "val"], "there is no image for")


def test_without_objects(tmp_path: Path, prepare: Prepare) -> None:
    arguments = voc_tree(tmp_path)
    (tmp_path / "voc/SegmentationObject/one.png").rename(tmp_path / "voc/SegmentationObject/other.png")
    refused(prepare, arguments, "has no map", "in SegmentationObject")
    (tmp_path / "voc/SegmentationObject/other.png").unlink()
    (tmp_path / "voc/SegmentationObject").rmdir()
    assert "all things of a class are one segment" in prepare(*arguments)
    assert [segment[1:4] for segment in read(tmp_path / "dst")["one"][1]] == [(3, 0, 8), (7, 0, 6), (9, 0, 18)]
    assert "all things" not in prepare(*arguments, "--connected", "--set", "val")
    assert len(read(tmp_path / "dst", "val")["one"][1]) == 4


def test_invalid_maps(tmp_path: Path, prepare: Prepare) -> None:
    arguments = voc_tree(tmp_path)
    path = tmp_path / "voc/SegmentationClass/one.png"
    palette(np.full((6, 8), 4)).save(path)
    refused(prepare, arguments, f"{path} has the value 4")
    palette(np.full((6, 8), 4)).convert("RGB").save(path)
    refused(prepare, arguments, f"{path} has the colour 0,0,128")
    palette(np.full((6, 9), 3)).convert("RGB").save(path)
    refused(prepare, arguments, "is 9 x 6", "one.jpg is 8 x 6")
    claims_size(path, 8, 11_000_000)
    refused(prepare, arguments, "is 8 x 11000000", "one.jpg is 8 x 6")
    path.write_text("nothing")
    refused(prepare, arguments, "one.png cannot be read as an image")
    path.unlink()
    refused(prepare, arguments, "SegmentationClass has no .png file")


@needs_data
def test_real_palettes_are_read_as_pillow_reads_them(tmp_path: Path, prepare: Prepare) -> None:
    prepare("voc", REAL)
    records = json.loads((tmp_path / "dst" / "panoptic_train.json").read_text())["annotations"]
    assert len(records) == 3
    for record in records:
        classes, objects = (
            np.array(Image.open(REAL / f"Segmentation{kind}" / record["file_name"])) for kind in ("Class", "Object")
        )
        ids = read_ids(tmp_path / "dst" / "panoptic_train" / record["file_name"])
        assert np.array_equal(ids > 0, (classes > 0) & (classes < 255))
        pairs = {(int(c), int(o)) for c, o in zip(classes[ids > 0], objects[ids > 0])}
        assert len(pairs) == len(record["segments_info"])
        for segment in record["segments_info"]:
            mask = ids == segment["id"]
            assert set(classes[mask]) == {segment["category_id"]}
            (number,) = set(objects[mask])
            assert mask.sum() == ((classes == segment["category_id"]) & (objects == number)).sum()
            assert segment["iscrowd"] == (number == 0)
