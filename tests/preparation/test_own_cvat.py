"""Sets with CVAT's XML, worked out by hand; every error."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from own_exports import CVAT_SHAPES, cvat_tree
from own_sets import Prepare, grid, read, refused, save_image, vocabulary_of


def test_cvat(tmp_path: Path, prepare: Prepare) -> None:
    prepare(*cvat_tree(tmp_path))
    ids, segments = read(tmp_path / "dst")["a/one"]
    expected = grid("12222..1 12222... 12222... .2222xx. 33...xx. 333.....", x=4)
    assert np.array_equal(ids, expected)
    assert segments == [
        (1, 2, 0, 4, [0, 0, 8, 3]),
        (2, 3, 0, 16, [1, 0, 4, 4]),
        (3, 1, 0, 5, [0, 4, 3, 2]),
        (4, 2, 0, 4, [5, 3, 2, 2]),
    ]
    # The labels of the task in their order; those of a tag are not among the shapes.
    assert vocabulary_of(tmp_path / "dst") == [(1, "grass", 0), (2, "cat", 1), (3, "dog", 1)]


def test_the_mask_of_cvats_documentation(tmp_path: Path, prepare: Prepare) -> None:
    """A disc of 13 x 15 pixels, with its rows worked out from the numbers: 3 empty, 5 set, 7 empty, 7 set, ..."""
    rle = "3, 5, 7, 7, 5, 9, 3, 11, 2, 11, 2, 12, 1, 12, 1, 26, 1, 12, 1, 12, 2, 11, 3, 9, 5, 7, 7, 5, 3"
    mask = f'<mask label="cat" rle="{rle}" left="1" top="2" width="13" height="15" z_order="0"/>'
    arguments = cvat_tree(tmp_path, mask, width="20", height="18")
    save_image(tmp_path / "images" / "a" / "one.jpg", 20, 18)
    prepare(*arguments)
    ids, _ = read(tmp_path / "dst")["a/one"]
    bits = "".join(str(k % 2) * int(n) for k, n in enumerate(rle.split(",")))
    rows = [bits[k : k + 13] for k in range(0, len(bits), 13)]
    assert rows[0] == "0001111100000"
    assert np.array_equal(ids, np.pad(grid(" ".join(rows)), ((2, 1), (1, 6))))


def test_names_and_vocabulary(tmp_path: Path, prepare: Prepare) -> None:
    arguments = cvat_tree(tmp_path, name="D:\\photos\\one.jpg")
    refused(prepare, arguments, "image 0 of", "D:", "not the path of a file inside its folder", "--by-name")
    prepare(*arguments, "--by-name")
    prepare(*cvat_tree(tmp_path / "val", name="a\\one.jpg"), "--set", "val")
    assert list(read(tmp_path / "dst", "val")) == list(read(tmp_path / "dst")) == ["a/one"]
    other = cvat_tree(tmp_path / "other", CVAT_SHAPES.replace("dog", "fox"))
    refused(
        prepare, [*other, "--set", "more"], "has the label 'fox', which the vocabulary", "or rename the label in CVAT"
    )


def test_shapes_without_a_mask(tmp_path: Path, prepare: Prepare) -> None:
    box = '<box label="dog" xtl="1" ytl="1" xbr="3" ybr="3" z_order="0"/>'
    arguments = cvat_tree(tmp_path, CVAT_SHAPES + box)
    refused(
        prepare, arguments, "box 7 in image 0 of", "('dog')", "draw a polygon, mask or ellipse", "--skip-without-mask"
    )
    assert "left out 1 without a mask; the first: box 7 in image 0" in prepare(*arguments, "--skip-without-mask")
    assert len(read(tmp_path / "dst")["a/one"][1]) == 4
    refused(prepare, [*cvat_tree(tmp_path, box), "--skip-without-mask", "--set", "v"], "no other shape has one: export")


ERRORS = {
    "text": ("<polygon label='cat' points='1,1;a,2;3,3'/>", "polygon 1 in image 0 of"),
    "one number": ("<polygon label='cat' points='1,1;2;3,3'/>", "its points are not x,y;x,y"),
    "two points": ("<polygon label='cat' points='1,1;2,2'/>", "a polygon of 4 numbers"),
    "runs": (
        "<mask label='cat' rle='1,2' left='0' top='0' width='2' height='2'/>",
        "do not add up to its box of 2 x 2",
    ),
    "negative": ("<mask label='cat' rle='-1,5' left='0' top='0' width='2' height='2'/>", "do not add up"),
    "no box": ("<mask label='cat' rle='1,3'/>", "mask 1 in image 0 of"),
    "large": ("<mask label='cat' rle='0,90' left='0' top='0' width='9' height='10'/>", "is larger than the image"),
    "radius": ("<ellipse label='cat' cx='1' cy='1' rx='nan' ry='1'/>", "its rx is nan"),
    "label": ("<polygon points='1,1;2,2;3,3'/>", "has no label: name it in CVAT"),
    "order": ("<polygon label='cat' z_order='x' points='1,1;2,2;3,3'/>", "has z_order 'x', not a whole number"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_invalid_shapes_are_refused(tmp_path: Path, prepare: Prepare, name: str) -> None:
    shapes, sentence = ERRORS[name]
    refused(prepare, cvat_tree(tmp_path, shapes), sentence)


def test_files_that_are_not_cvats(tmp_path: Path, prepare: Prepare) -> None:
    arguments = cvat_tree(tmp_path, width="9")
    refused(prepare, arguments, "image 0 of", "is 9 x 6 (width x height), but its image")
    refused(prepare, cvat_tree(tmp_path, width="x"), "has width 'x', not a whole number")
    path = tmp_path / "annotations.xml"
    for text, sentence in (
        ("<annotations>", "is not an XML file"),
        ("<annotations><track label='cat'/></annotations>", "has tracks of a video: export the task from CVAT as"),
        ("<annotation><object/></annotation>", "has no images"),
        (
            "<annotations><image id='0'/></annotations>",
            "image 0 of",
        ),
        ("<annotations><image name='a'/><image name='a'/></annotations>", "has the name of another"),
    ):
        path.write_text(text)
        refused(prepare, [*arguments[:2], path], str(path), sentence)
    path.unlink()
    refused(prepare, arguments, "annotations.xml does not exist")
