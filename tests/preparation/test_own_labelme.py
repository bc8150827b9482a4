"""Sets with labelme's files, worked out by hand; every error."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from own_sets import SHAPES, Prepare, grid, labelme_tree, png_text, read, refused, shape, vocabulary_of, write


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
