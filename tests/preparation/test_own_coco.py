"""Sets with COCO's instances, worked out by hand; COCO's sample; every error."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from own_sets import COCO, Prepare, box, coco_tree, grid, read, refused, vocabulary_of, write
from PIL import Image

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "panoptic" / "panopticapi_sample"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"real panoptic files are not at {DATA}")


def test_coco(tmp_path: Path, prepare: Prepare) -> None:
    prepare(*coco_tree(tmp_path))
    found = read(tmp_path / "dst")
    # The cup is annotated before the larger table and is in front; the crowd is smaller but behind everything.
    assert np.array_equal(found[40][0], grid("33333355 32233345 32233345 33333345 33333345 3.....45"))
    assert found[40][1] == [
        (2, 2, 0, 4, [1, 1, 2, 2]),
        (3, 1, 0, 27, [0, 0, 6, 6]),
        (4, 2, 1, 5, [6, 1, 1, 5]),
        (5, 9, 0, 7, [6, 0, 2, 6]),
    ]
    assert (
        found[7][0].shape == (4, 5) and not found[7][0].any() and found[7][1] == []
    )  # stays in the set, void everywhere
    assert vocabulary_of(tmp_path / "dst") == [(1, "table", 1), (2, "cup", 1), (5, "lid", 1), (9, "grass", 0)]


def test_coco_in_worker_processes(tmp_path: Path, prepare: Prepare) -> None:
    arguments = coco_tree(tmp_path)
    prepare(*arguments)
    prepare(*arguments, "--dst", tmp_path / "other", "--workers", 2)
    jsons = [(tmp_path / dst / "panoptic_train.json").read_text() for dst in ("dst", "other")]
    assert jsons[0] == jsons[1]


@needs_data
def test_cocos_sample_is_its_panoptic_form(tmp_path: Path, prepare: Prepare) -> None:
    annotations = DATA / "panoptic_coco_detection_format.json"
    prepare("coco", DATA / "input_images", annotations, "--vocabulary", "coco")
    found = read(tmp_path / "dst")
    truths = json.loads((DATA / "panoptic_examples.json").read_text())["annotations"]
    assert len(truths) == len(found) == 2
    for truth in truths:
        ids, segments = found[truth["image_id"]]
        png = np.array(Image.open(DATA / "panoptic_examples" / truth["file_name"]), dtype=np.int64)
        theirs = png @ [1, 256, 65536]
        assert np.array_equal(ids == 0, theirs == 0)
        pairs = dict(np.unique(np.stack([theirs[theirs > 0], ids[theirs > 0]], axis=1), axis=0).tolist())
        ours = {s[0]: s[1:] for s in segments}
        assert len(pairs) == len(ours) == len(truth["segments_info"])
        for s in truth["segments_info"]:
            assert ours[pairs[s["id"]]] == (s["category_id"], s["iscrowd"], s["area"], s["bbox"])


COCO_ERRORS: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "no images": (lambda c: c.pop("images"), "is not a COCO json of instances"),
    "no image": (lambda c: c.update(images=[], annotations=[]), "has no images"),
    "list": (lambda c: c.update(images=3), "is not a COCO json of instances"),
    "names": (lambda c: c["categories"][0].pop("name"), "`categories` of"),
    "one name twice": (lambda c: c["categories"][0].update(name="CUP"), "has the name 'cup' twice"),
    "one id twice": (lambda c: c["images"][0].update(id=7), "has image id 7 twice"),
    "stranger": (lambda c: c["annotations"][0].update(image_id=8), "annotates image 8, which is not in its `images`"),
    "category": (lambda c: c["annotations"][0].update(category_id=4), "annotation 1 of"),
    "stem": (lambda c: c["images"][1].update(file_name="a/one.jpg"), "has a/one.jpg and a/one.jpg"),
    "absolute": (
        lambda c: c["images"][1].update(file_name="/two.png"),
        "has file_name '/two.png', not the path of a file",
    ),
    "above": (
        lambda c: c["images"][1].update(file_name="../two.png"),
        "has file_name '../two.png', not the path of a file inside its folder",
    ),
    "missing": (lambda c: c["images"][1].update(file_name="three.png"), "three.png does not exist"),
    "size": (lambda c: c["images"][0].update(width=9), "is 9 x 6 (width x height), but its image"),
    "box": (lambda c: c["annotations"][0].update(segmentation=[]), "(it has no segmentation): correct or remove it"),
    "none": (
        lambda c: c["annotations"][0].pop("segmentation"),
        "(it has no segmentation): correct or remove it, or give --skip-without-mask",
    ),
    "two points": (lambda c: c["annotations"][0].update(segmentation=[[1, 1, 2, 2]]), "a polygon of 4 numbers"),
    "half": (lambda c: c["annotations"][0].update(segmentation=[[1, 1, 2, 2, 3, 3, 4]]), "a polygon of 7 numbers"),
    "flat": (lambda c: c["annotations"][0].update(segmentation=box(1, 1, 3, 3)), "polygons are lists within a list"),
    "text": (lambda c: c["annotations"][0].update(segmentation=[["a"] * 6]), "annotation 1 of"),
    "nan": (lambda c: c["annotations"][0].update(segmentation=[[float("nan")] * 6]), "that is not a number"),
    "runs": (lambda c: c["annotations"][4]["segmentation"].update(counts=[42, 5]), "do not add up to the image"),
    "packed": (lambda c: c["annotations"][3]["segmentation"].update(counts="0T3"), "annotation 4 of"),
    "few": (lambda c: c["annotations"][3]["segmentation"].pop("counts"), "run lengths without `counts`"),
    "run size": (lambda c: c["annotations"][4]["segmentation"].update(size=[8, 6]), "run lengths of size [8, 6]"),
}


@pytest.mark.parametrize("name", COCO_ERRORS)
def test_invalid_coco_jsons_are_refused(tmp_path: Path, prepare: Prepare, name: str) -> None:
    change, sentence = COCO_ERRORS[name]
    refused(prepare, coco_tree(tmp_path, change), sentence)
    assert not (tmp_path / "dst" / "vocabulary.json").exists()


def test_a_vocabulary_in_place_of_the_categories_has_their_ids(tmp_path: Path, prepare: Prepare) -> None:
    arguments = coco_tree(tmp_path)
    given = tmp_path / "given.json"
    rows = [{"isthing": 1, **c} for c in COCO["categories"]]
    write(given, {"categories": rows[:3]})
    refused(prepare, [*arguments, "--vocabulary", given], "category 9: grass, but vocabulary 'given' lacks that id")
    write(given, {"categories": [{**rows[0], "name": "cup"}, {**rows[1], "name": "mug"}, *rows[2:]]})
    refused(prepare, [*arguments, "--vocabulary", given], "category 2: cup, but", "has that name at 1")
