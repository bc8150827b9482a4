"""Sets with labelme's files, worked out by hand; every error."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from own_sets import SHAPES, Prepare, grid, labelme_tree, png_text, read, refused, shape, vocabulary_of, write
from PIL import Image

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
REAL = SHARED / "photos" / "voc_labelme" / "examples" / "instance_segmentation"
needs_data = pytest.mark.skipif(not REAL.is_dir(), reason=f"real photographs are not at {REAL}")


def test_labelme(tmp_path: Path, prepare: Prepare) -> None:
    prepare(*labelme_tree(tmp_path))
    ids, segments = read(tmp_path / "dst")["a/first"]
    # A circle of radius 1 covers the four pixels around its centre.
    assert np.array_equal(ids, grid("1111322. 1.11.22. 1111.... .....22. 44...22. 444....4"))
    assert segments == [
        (1, 2, 0, 11, [0, 0, 4, 3]),
        (2, 1, 0, 8, [5, 0, 2, 5]),
        (3, 1, 0, 1, [4, 0, 1, 1]),
        (4, 3, 0, 6, [0, 4, 8, 2]),
    ]
    assert vocabulary_of(tmp_path / "dst") == [(1, "cat", 1), (2, "dog", 1), (3, "grass", 0)]
    assert (tmp_path / "dst" / "images" / "train" / "a" / "first.jpg").is_file()


def test_labelmes_second_set_uses_the_ids_of_the_first(tmp_path: Path, prepare: Prepare) -> None:
    prepare(*labelme_tree(tmp_path / "train"))
    shared = tmp_path / "dst" / "vocabulary.json"
    content = json.loads(shared.read_text())
    content["categories"][1]["synonyms"] = ["hound"]  # by hand
    write(shared, content)
    prepare(*labelme_tree(tmp_path / "val", [shape("Hound", "polygon", [[0, 0], [4, 0], [4, 3]])]), "--set", "val")
    assert [s[1] for s in read(tmp_path / "dst", "val")["a/first"][1]] == [2]
    assert json.loads(shared.read_text()) == content


def test_an_oriented_rectangle_is_the_polygon_of_its_corners(tmp_path: Path, prepare: Prepare) -> None:
    corners = [[4, 0], [8, 3], [4, 6], [0, 3]]
    prepare(*labelme_tree(tmp_path / "r", [shape("cat", "oriented_rectangle", corners)]))
    prepare(*labelme_tree(tmp_path / "p", [shape("cat", "polygon", corners)]), "--set", "val")
    rectangle, polygon = (read(tmp_path / "dst", name)["a/first"] for name in ("train", "val"))
    assert np.array_equal(rectangle[0], polygon[0]) and rectangle[1] == polygon[1]
    assert 20 <= rectangle[1][0][3] <= 32  # of an area of 24


def test_labels_lose_the_spaces_around_them(tmp_path: Path, prepare: Prepare) -> None:
    shapes = [SHAPES[0], shape(" cat ", "rectangle", [[7, 2], [5, 0]]), shape("cat", "rectangle", [[4, 3], [8, 6]])]
    prepare(*labelme_tree(tmp_path, shapes))
    assert [name for _, name, _ in vocabulary_of(tmp_path / "dst")] == ["cat", "dog"]
    assert [segment[1] for segment in read(tmp_path / "dst")["a/first"][1]] == [2, 1, 1]


def test_an_image_that_is_only_inside_its_json(tmp_path: Path, prepare: Prepare) -> None:
    arguments = labelme_tree(tmp_path)
    image = tmp_path / "own" / "a" / "images" / "one.jpg"
    content = image.read_bytes()
    image.unlink()
    path = tmp_path / "own" / "a" / "first.json"
    write(path, {**json.loads(path.read_text()), "imageData": base64.b64encode(content).decode()})
    prepare(*arguments)
    written = tmp_path / "dst" / "images" / "train" / "a" / "first.jpeg"
    assert written.read_bytes() == content and not written.is_symlink()
    assert len(read(tmp_path / "dst")["a/first"][1]) == 4


def test_points_and_lines_can_be_left_out(tmp_path: Path, prepare: Prepare) -> None:
    arguments = labelme_tree(tmp_path, [*SHAPES, shape("cat", "point", [[1, 1]])])
    said = prepare(*arguments, "--skip-without-mask")
    assert "left out 1 without a mask; the first: shape 8 ('cat') of" in said
    assert len(read(tmp_path / "dst")["a/first"][1]) == 4


@needs_data
def test_real_files_are_as_labelme_exports_them(tmp_path: Path, prepare: Prepare) -> None:
    """labelme's own palette PNGs of the same shapes, drawn by Pillow: all classes, 98 % of the pixels."""
    names = (REAL / "labels.txt").read_text().split("\n")
    prepare("labelme", REAL / "data_annotated")
    classes = {i: name for i, name, _ in vocabulary_of(tmp_path / "dst")}
    for stem, (ids, segments) in read(tmp_path / "dst").items():
        theirs = np.array(Image.open(REAL / "data_dataset_voc" / "SegmentationClass" / f"{stem}.png"))
        ours = np.zeros_like(theirs)
        for number, category, *_ in segments:
            ours[ids == number] = names.index(classes[category]) - 1  # __ignore__ is -1, the background 0
        judged = theirs < 255
        assert set(np.unique(ours[judged])) == set(np.unique(theirs[judged]))
        assert (ours == theirs)[judged].mean() > 0.98


LABELME_ERRORS: dict[str, tuple[list[dict[str, Any]], str]] = {
    "point": ([shape("cat", "point", [[1, 1]])], "shape 1 ('cat') of"),
    "line": ([SHAPES[0], shape("cat", "line", [[1, 1], [2, 2]])], "(a line has no area: draw a polygon"),
    "two points": ([shape("cat", "polygon", [[1, 1], [2, 2]])], "a polygon of 4 numbers"),
    "circle": ([shape("cat", "circle", [[1, 1]])], "cannot be drawn"),
    "no mask": ([shape("cat", "mask", [[0, 0], [1, 1]])], "cannot be drawn"),
    "bad mask": ([shape("cat", "mask", [[0, 0], [1, 1]], mask="abcd")], "its mask is no PNG in base64"),
    "mask size": (
        [shape("cat", "mask", [[0, 0], [1, 1]], mask=png_text(grid("111")))],
        "its mask is 3 x 1, but its points make 2 x 2",
    ),
    "case": ([*SHAPES, shape("Cat", "polygon", [[0, 0], [4, 0], [4, 3]])], "differ only in case: rename one"),
    "blank label": ([SHAPES[0], shape("  ", "polygon", [[0, 0], [4, 0], [4, 3]])], "shape 2 of"),
    "group": (
        [shape("cat", "polygon", [[0, 0], [4, 0], [4, 3]], group_id=[1])],
        "has group_id [1], not a whole number",
    ),
    "far mask": ([shape("cat", "mask", [[0, 0], [1e9, 1e9]], mask=png_text(grid("111")))], "its mask is 3 x 1"),
    "nan mask": (
        [shape("cat", "mask", [[0, 0], [float("nan"), 1]], mask=png_text(grid("111")))],
        "are not the first and the last pixel",
    ),
    "far circle": ([shape("cat", "circle", [[0, 0], [float("inf"), 1]])], "finite numbers"),
    "texts": ([shape("cat", "polygon", [["0", "0"], ["4", "0"], ["4", "3"]])], "lists of numbers"),
    "kind": ([shape("cat", ["polygon"], [[0, 0], [4, 0], [4, 3]])], "has no area"),  # type: ignore[arg-type]
    "no label": ([{"points": []}], "first.json is not labelme's"),
    "nothing": ([], "has a shape with a label: label the images first"),
}


@pytest.mark.parametrize("name", LABELME_ERRORS)
def test_invalid_labelme_jsons_are_refused(tmp_path: Path, prepare: Prepare, name: str) -> None:
    shapes, sentence = LABELME_ERRORS[name]
    refused(prepare, labelme_tree(tmp_path, shapes), sentence)


def test_the_image_of_a_labelme_json(tmp_path: Path, prepare: Prepare) -> None:
    refused(prepare, labelme_tree(tmp_path, imageWidth=6, imageHeight=8), "first.json is 6 x 8", "one.jpg is 8 x 6")
    arguments = labelme_tree(tmp_path, imageData="abc", imagePath="two.jpg")
    refused(prepare, arguments, "two.jpg of", "its copy inside the json, imageData, cannot be read", "put the image")
    refused(prepare, labelme_tree(tmp_path, imagePath="two.jpg"), "two.jpg of", "does not exist: put it there")


@pytest.mark.parametrize("value", [[8], "8", 1.5, -8])
def test_sizes_that_are_no_numbers_are_refused(tmp_path: Path, prepare: Prepare, value: object) -> None:
    refused(prepare, labelme_tree(tmp_path, imageWidth=value), "first.json: 'imageWidth' is", "correct it")


@pytest.mark.parametrize("name", [".", "..", "/"])
def test_an_image_path_that_is_a_folder_is_refused(tmp_path: Path, prepare: Prepare, name: str) -> None:
    refused(prepare, labelme_tree(tmp_path, imagePath=name), "first.json does not exist: put it there")
