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
FAILING = Path(__file__).resolve().parents[3] / "shared" / "data" / "failing" / "inputs"
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


def test_a_set_without_annotations_is_told(tmp_path: Path, prepare: Prepare) -> None:
    given = coco_tree(tmp_path, lambda content: content.update(annotations=[]))
    assert f"no annotation in {given[2]} or any other file of this set: every pixel is void" in prepare(*given)
    assert not any(ids.any() for ids, _ in read(tmp_path / "dst").values())


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
    "names": (lambda c: c["categories"][0].pop("name"), "categories[0] of"),
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
    "runs": (
        lambda c: c["annotations"][4]["segmentation"].update(counts=[42, 5]),
        "run lengths of 47 pixels in all, but the image has 48",
    ),
    "run text": (lambda c: c["annotations"][4]["segmentation"].update(counts=[42, "6"]), "nor a list of whole numbers"),
    "packed": (lambda c: c["annotations"][3]["segmentation"].update(counts="0T3"), "annotation 4 of"),
    "few": (lambda c: c["annotations"][3]["segmentation"].pop("counts"), "`counts` are neither COCO's text"),
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


def crowded(content: dict[str, Any]) -> None:
    """As CVAT exports brush masks."""
    for annotation in content["annotations"]:
        annotation["iscrowd"] = 1


def test_a_set_that_is_all_crowd_is_questioned(tmp_path: Path, prepare: Prepare) -> None:
    arguments = coco_tree(tmp_path, crowded)
    parts = ("every mask of", "(6) has iscrowd 1", "--crowd instances", "--crowd keep")
    refused(prepare, arguments, *parts)
    assert not (tmp_path / "dst").exists()
    prepare(*arguments, "--crowd", "instances")
    prepare(*arguments, "--crowd", "keep", "--set", "kept")
    prepare(
        *coco_tree(tmp_path / "plain", lambda c: [a.pop("iscrowd", None) for a in c["annotations"]]), "--set", "plain"
    )
    instances, kept, plain = (read(tmp_path / "dst", name)[40] for name in ("train", "kept", "plain"))
    assert np.array_equal(instances[0], plain[0]) and instances[1] == plain[1]
    assert all(segment[2] for segment in kept[1])


def test_a_class_that_is_all_crowd_is_told(tmp_path: Path, prepare: Prepare) -> None:
    arguments = coco_tree(tmp_path, lambda c: c["annotations"][2].update(iscrowd=1))
    assert "every mask of 'table' (1) has iscrowd 1" in prepare(*arguments)
    assert "iscrowd" not in prepare(*arguments, "--crowd", "keep", "--set", "said")


def test_roboflows_root_category_is_left_out(tmp_path: Path, prepare: Prepare) -> None:
    """A category that is not annotated, has no supercategory, and is that of the others; here with a class's name."""

    def as_roboflow(content: dict[str, Any]) -> None:
        for category in content["categories"]:
            category["supercategory"] = "cup"
        content["categories"].insert(0, {"id": 0, "name": "cup", "supercategory": "none"})

    assert "left out category 0: cup, Roboflow's name for the whole set\n" in prepare(*coco_tree(tmp_path, as_roboflow))
    assert vocabulary_of(tmp_path / "dst") == [(1, "table", 1), (2, "cup", 1), (5, "lid", 1), (9, "grass", 0)]


def test_other_categories_without_annotations_stay(tmp_path: Path, prepare: Prepare) -> None:
    """Of supercategory "none" too, as long as no other category names them: a class may be absent from a set."""
    extra = {"id": 11, "name": "sky", "supercategory": "none"}
    assert "left out" not in prepare(*coco_tree(tmp_path, lambda c: c["categories"].append(extra)))
    assert vocabulary_of(tmp_path / "dst")[-1] == (11, "sky", 1)


def test_windows_separators_and_other_folders(tmp_path: Path, prepare: Prepare) -> None:
    prepare(*coco_tree(tmp_path, lambda c: c["images"][0].update(file_name="a\\one.jpg")))
    prefixed = coco_tree(tmp_path / "b", lambda c: c["images"][0].update(file_name="images\\1a2b3c4d-one.jpg"))
    refused(prepare, [*prefixed, "--set", "b"], "1a2b3c4d-one.jpg does not exist, which image 40 of", "--by-name")
    prepare(*prefixed, "--set", "b", "--by-name")
    found, named = (read(tmp_path / "dst", name) for name in ("train", "b"))
    assert np.array_equal(found[40][0], named[40][0]) and list(found) == list(named)
    assert (tmp_path / "dst" / "images" / "b" / "a" / "one.jpg").is_file()


def test_annotations_without_a_segmentation_can_be_left_out(tmp_path: Path, prepare: Prepare) -> None:
    """Boxes alone, as detection sets have them, beside masks."""

    def boxes(content: dict[str, Any]) -> None:
        for number, empty in enumerate(([], [[]], None, [[1, 1, 2, 2]])):
            row = {"id": 20 + number, "image_id": 7, "category_id": 1, "bbox": [0, 0, 2, 2], "segmentation": empty}
            content["annotations"].append(row)

    arguments = coco_tree(tmp_path, boxes)
    refused(prepare, arguments, "annotation 20 of", "(it has no segmentation)", "--skip-without-mask")
    said = prepare(*arguments, "--skip-without-mask")
    assert "left out 4 without a mask; the first: annotation 20 of" in said
    assert len(read(tmp_path / "dst")[40][1]) == 4
    alone = coco_tree(tmp_path / "alone", lambda c: [a.pop("segmentation") for a in c["annotations"]])
    refused(prepare, [*alone, "--skip-without-mask", "--set", "b"], "and no other shape has one: export masks")


FIELDS: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "width": (lambda c: c["images"][0].update(width=[8]), "images[0] of {}: 'width' is [8], not a whole number"),
    "height": (lambda c: c["images"][0].update(height="6"), "images[0] of {}: 'height' is '6', not a whole number"),
    "iscrowd": (lambda c: c["annotations"][1].update(iscrowd=[1]), "annotations[1] of {}: 'iscrowd' is [1], not 0"),
    "text crowd": (lambda c: c["annotations"][1].update(iscrowd="0"), "annotations[1] of {}: 'iscrowd' is '0'"),
    "image id": (lambda c: c["images"][1].update(id=7.5), "images[1] of {}: 'id' is 7.5, not a whole number or text"),
    "owner": (lambda c: c["annotations"][0].update(image_id=[40]), "annotations[0] of {}: 'image_id' is [40]"),
    "category": (lambda c: c["annotations"][0].update(category_id=5.5), "annotations[0] of {}: 'category_id' is 5.5"),
    "text": (lambda c: c["annotations"][0].update(category_id="5"), "annotations[0] of {}: 'category_id' is '5'"),
    "infinite": (lambda c: c["categories"][0].update(id=float("inf")), "'id' is inf, not a whole number"),
    "isthing": (lambda c: c["categories"][0].update(isthing="0"), "'isthing' is '0', not 0 or 1"),
    "name": (lambda c: c["categories"][0].update(name=" "), "'name' is ' ', not a name"),
    "dot": (lambda c: c["images"][1].update(file_name="."), "image 7 of {} has file_name '.', not the path of a file"),
    "drive": (lambda c: c["images"][1].update(file_name="C:\\two.png"), "image 7 of {} has file_name 'C:\\\\two.png'"),
    "list": (lambda c: c["images"][1].update(file_name=["two.png"]), "image 7 of {} has file_name ['two.png']"),
    "record": (lambda c: c["annotations"].append(3), "annotations[6] of {}: 3 is not an object"),
}  # fmt: skip


@pytest.mark.parametrize("name", FIELDS)
def test_fields_of_a_wrong_kind_are_named(tmp_path: Path, prepare: Prepare, name: str) -> None:
    change, sentence = FIELDS[name]
    refused(prepare, coco_tree(tmp_path, change), sentence.format(tmp_path / "instances.json"))
    assert not (tmp_path / "dst").exists()


def test_ids_that_are_whole_floats_can_be_read_back(tmp_path: Path, prepare: Prepare) -> None:
    """Some writers store every number as a float; the converted set has whole numbers."""

    def floats(content: dict[str, Any]) -> None:
        content["images"][1]["id"] = -0.0
        content["images"][0]["id"] = 40.0
        content["categories"][0]["id"] = 1.0

    prepare(*coco_tree(tmp_path, floats))
    assert list(read(tmp_path / "dst")) == [40, 0]
    text = (tmp_path / "dst" / "panoptic_train.json").read_text()
    assert '"image_id": 0,' in text and '"image_id": 40,' in text and '"id": 40.0' not in text


def test_deep_json_is_a_sentence(tmp_path: Path, prepare: Prepare) -> None:
    arguments = coco_tree(tmp_path)
    (tmp_path / "instances.json").write_text("[" * 100_000)
    refused(prepare, arguments, "instances.json is not valid json (it is nested too deeply)")


@pytest.mark.skipif(not FAILING.is_dir(), reason=f"the inputs of an attack are not at {FAILING}")
@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("coco_typeerror_45", "images[0] of {}: 'height' is [1, 2]"),
        ("polygon_far_off", "annotation 3 of {} cannot be drawn"),  # the far polygon before it is drawn, clipped
        ("all_crowd_instances", "every mask of {} (2) has iscrowd 1"),
    ],
)
def test_the_inputs_of_an_attack(tmp_path: Path, prepare: Prepare, name: str, sentence: str) -> None:
    (json_file,) = (FAILING / name).glob("*.json")
    (images,) = (path for path in (FAILING / name).iterdir() if path.is_dir())
    refused(prepare, ["coco", images, json_file], sentence.format(json_file))


def test_real_masks_of_cvat_become_instances(tmp_path: Path, prepare: Prepare) -> None:
    if not FAILING.is_dir():
        pytest.skip(f"the export is not at {FAILING}")
    folder = FAILING / "all_crowd_instances"
    prepare("coco", folder / "pics", folder / "instances_default.json", "--crowd", "instances")
    assert read(tmp_path / "dst")[1][1] == [(1, 1, 0, 48, [4, 3, 8, 6]), (2, 1, 0, 48, [19, 3, 8, 6])]


def test_a_file_that_changed_is_read_again(tmp_path: Path, prepare: Prepare) -> None:
    """In one process, as in a notebook."""
    prepare(*coco_tree(tmp_path))
    prepare(*coco_tree(tmp_path, lambda c: c["annotations"].pop()), "--set", "val")
    first, second = (read(tmp_path / "dst", name)[40][1] for name in ("train", "val"))
    assert first != second
