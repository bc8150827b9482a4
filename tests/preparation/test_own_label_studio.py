"""Sets with Label Studio's json, worked out by hand; its brush against an encoder written here; every error."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from own_exports import POLYGON, STUDIO_RESULTS, packed, result, studio_tree
from own_sets import Prepare, grid, read, refused, vocabulary_of

from opsnet.preparation.own_label_studio import unpacked


@pytest.mark.parametrize("seed", range(5))
def test_brushes_are_unpacked(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = np.repeat(rng.integers(0, 256, 60), rng.integers(1, 300, 60)).astype(np.uint8)
    assert np.array_equal(unpacked(np.array(packed(values), np.uint8), values.size), values)


def test_a_brush_by_hand() -> None:
    """A head for 4 values, then one block: bit 1, size 0 of 4 bits, count 4 less 1, value 255."""
    bits = f"{4:032b}{7:05b}{3:04b}{7:04b}{11:04b}{15:04b}" + "1" + "00" + "0011" + "11111111"
    bits += "0" * (-len(bits) % 8)
    data = np.array([int(bits[k : k + 8], 2) for k in range(0, len(bits), 8)], np.uint8)
    assert unpacked(data, 4).tolist() == [255] * 4
    for wrong, sentence in ((data[:8], "ends too early"), (data, "4 values of 8 bits, but the image needs 8 of 8")):
        with pytest.raises(ValueError, match=sentence):
            unpacked(wrong, 8 if len(wrong) > 8 else 4)


def test_label_studio(tmp_path: Path, prepare: Prepare) -> None:
    prepare(*studio_tree(tmp_path))
    found = read(tmp_path / "dst")
    assert list(found) == ["a/one", "0123abcd-two"]
    expected = grid("1111.... 1111.... 1111.... .....33. 22...33. 222.....", x=0)
    assert np.array_equal(found["a/one"][0], expected)
    assert [segment[:4] for segment in found["a/one"][1]] == [(1, 1, 0, 12), (2, 3, 0, 5), (3, 2, 0, 4)]
    assert not found["0123abcd-two"][0].any()
    assert vocabulary_of(tmp_path / "dst") == [(1, "cat", 1), (2, "dog", 1), (3, "grass", 0)]


def test_a_label_of_its_own_result_names_the_shape(tmp_path: Path, prepare: Prepare) -> None:
    shape = {**result("polygon", POLYGON), "id": "x"}
    del shape["value"]["polygon"]
    name = {**result("labels", POLYGON, "fox"), "id": "x"}
    prepare(*studio_tree(tmp_path, [shape, name]))
    assert vocabulary_of(tmp_path / "dst") == [(1, "fox", 1)]


def test_rectangles_have_no_mask(tmp_path: Path, prepare: Prepare) -> None:
    box = result("rectanglelabels", {"x": 0, "y": 0, "width": 10, "height": 10, "rotation": 0})
    arguments = studio_tree(tmp_path, [*STUDIO_RESULTS, box])
    refused(prepare, arguments, "result 5 in task 7 of", "('cat')", "a rectangle has no mask", "--skip-without-mask")
    assert "left out 1 without a mask" in prepare(*arguments, "--skip-without-mask")


ERRORS: dict[str, tuple[Any, str]] = {
    "percent": (result("polygonlabels", {"points": [[0, 0], [1, "a"], [2, 2]]}), "lists of numbers"),
    "points": (result("polygonlabels", {}), "its points are not a list of x and y"),
    "format": (result("brushlabels", {"format": "png", "rle": [1]}), "its format is 'png', not rle"),
    "bytes": (result("brushlabels", {"format": "rle", "rle": [300]}), "its rle is not a list of bytes"),
    "other size": (result("brushlabels", {"format": "rle", "rle": packed(np.zeros(9, np.uint8))}), "needs 192 of 8"),
    "label": ({**result("polygonlabels", POLYGON), "value": POLYGON}, "has no label: name it in Label Studio"),
    "rotated": (result("polygonlabels", POLYGON, image_rotation=90), "was rotated in Label Studio"),
    "size": (result("polygonlabels", POLYGON, original_width=9), "is 9 x 6"),
    "bad size": (result("polygonlabels", POLYGON, original_width=[8]), "'original_width' is [8], not a whole number"),
    "no size": ({k: v for k, v in result("polygonlabels", POLYGON).items() if "orig" not in k}, "original_width"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_invalid_results_are_refused(tmp_path: Path, prepare: Prepare, name: str) -> None:
    shape, sentence = ERRORS[name]
    refused(prepare, studio_tree(tmp_path, [shape]), "task 7 of", "export.json", sentence)


TASKS: dict[str, tuple[Callable[[list[Any]], Any], str]] = {
    "two": (lambda t: t[0]["annotations"].append({"result": []}), "has 2 annotations: keep one"),
    "min": (lambda t: t[0].pop("annotations"), "not as JSON-MIN"),
    "twice": (lambda t: t[1].update(id=7), "has a task id twice"),
    "gone": (lambda t: t[1]["data"].update(image="b/gone.jpg"), "has no image gone.jpg, which task 8"),
    "no image": (lambda t: t[1].update(data={}), "task 8 of"),
    "none": (lambda t: [task.update(annotations=[]) for task in t], "has no annotated task"),
    "results": (lambda t: t[0]["annotations"][0].update(result=3), "has no list of results"),
}


@pytest.mark.parametrize("name", TASKS)
def test_invalid_tasks_are_refused(tmp_path: Path, prepare: Prepare, name: str) -> None:
    change, sentence = TASKS[name]
    refused(prepare, studio_tree(tmp_path, change=change), sentence)
