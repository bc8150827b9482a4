"""Sets with masks, on images of 8 x 6 pixels, worked out by hand; every error."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from own_sets import (
    CLASSES,
    NUMBERS,
    SEMANTIC,
    Prepare,
    claims_size,
    grid,
    masks_tree,
    read,
    refused,
    save,
    save_image,
    vocabulary_of,
    write,
)
from PIL import Image


def colours(numbers: np.ndarray) -> np.ndarray:
    return np.stack([numbers % 256, numbers // 256 % 256, numbers // 65536], axis=-1).astype(np.uint8)


@pytest.mark.parametrize("form", ["grey16", "rgb"])
def test_masks_with_instances(tmp_path: Path, prepare: Prepare, form: str) -> None:
    arguments = masks_tree(tmp_path)
    numbers = grid(NUMBERS, b=300)
    save(tmp_path / "which" / "a" / "one.png", numbers.astype(np.uint16) if form == "grey16" else colours(numbers))
    said = prepare(*arguments, "--instances", tmp_path / "which")
    assert f"train: 1 images; {tmp_path / 'dst' / 'vocabulary.json'}: 2 things, 1 stuff\n" in said
    ids, segments = read(tmp_path / "dst")["a/one"]
    # The right cat has no number: crowd. 5 is a cat and a dog: two segments. Grass is one regardless of numbers.
    assert np.array_equal(ids, grid("........ ........ 22551155 22551155 33455555 33455555"))
    assert segments == [
        (1, 3, 1, 4, [4, 2, 2, 2]),
        (2, 3, 0, 4, [0, 2, 2, 2]),
        (3, 7, 0, 4, [0, 4, 2, 2]),
        (4, 7, 0, 2, [2, 4, 1, 2]),
        (5, 9, 0, 18, [2, 2, 6, 4]),
    ]
    assert json.loads((tmp_path / "dst" / "vocabulary.json").read_text()) == CLASSES
    assert (tmp_path / "dst" / "images" / "train" / "a" / "one.jpg").is_file()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_masks_only_give_one_segment_per_class_with_a_note(tmp_path: Path, prepare: Prepare, dtype: type) -> None:
    said = prepare(*masks_tree(tmp_path, dtype))
    assert "all things of a class are one segment per image" in said
    ids, segments = read(tmp_path / "dst")["a/one"]
    assert np.array_equal(ids, grid("........ ........ 11331133 11331133 22233333 22233333"))
    assert [s[:4] for s in segments] == [(1, 3, 0, 8), (2, 7, 0, 6), (3, 9, 0, 18)]


def test_connected_regions_of_things(tmp_path: Path, prepare: Prepare) -> None:
    assert "one segment per image" not in prepare(*masks_tree(tmp_path), "--connected")
    ids, _ = read(tmp_path / "dst")["a/one"]
    assert np.array_equal(ids, grid("........ ........ 11442244 11442244 33344444 33344444"))


def test_things_that_touch_at_a_corner_are_connected(tmp_path: Path, prepare: Prepare) -> None:
    arguments = masks_tree(tmp_path)
    save(tmp_path / "masks" / "a" / "one.png", grid("3" + "." * 7 + " .3......" + " ........" * 4).astype(np.uint8))
    prepare(*arguments, "--connected")
    assert [s[3] for s in read(tmp_path / "dst")["a/one"][1]] == [2]


def test_palette_indices_are_the_ids(tmp_path: Path, prepare: Prepare) -> None:
    arguments = masks_tree(tmp_path)
    mask = Image.fromarray(grid(SEMANTIC, v=255, c=3, d=7).astype(np.uint8))
    mask.putpalette([c for i in range(256) for c in (255 - i, 7, i // 2)])
    mask.save(tmp_path / "masks" / "a" / "one.png")
    prepare(*arguments)
    assert [s[1:4] for s in read(tmp_path / "dst")["a/one"][1]] == [(3, 0, 8), (7, 0, 6), (9, 0, 18)]


def test_void_is_0_and_255_unless_the_vocabulary_has_them(tmp_path: Path, prepare: Prepare) -> None:
    arguments = masks_tree(tmp_path)
    classes = [*CLASSES["categories"], {"id": 0, "name": "road", "isthing": 0}]
    write(tmp_path / "classes.json", {"categories": classes})
    prepare(*arguments, "--dst", tmp_path / "default")
    assert (1, 0, 0, 8, [0, 0, 4, 2]) in read(tmp_path / "default")["a/one"][1]
    prepare(*arguments, "--dst", tmp_path / "said", "--void", "0,3,255")
    assert [s[1] for s in read(tmp_path / "said")["a/one"][1]] == [7, 9]


def test_a_list_of_names_is_numbered_from_1_and_kinds_can_be_given(tmp_path: Path, prepare: Prepare) -> None:
    save_image(tmp_path / "images" / "1.png")
    save(tmp_path / "masks" / "1.png", grid("11112222 " * 3 + "33333333 " * 3).astype(np.uint8))
    (tmp_path / "classes.txt").write_text("Blob\nlichen\ngrass\n")
    arguments = ["masks", tmp_path / "images", tmp_path / "masks", "--vocabulary", tmp_path / "classes.txt"]
    prepare(*arguments, "--stuff", "lichen, blob", "--things", "Grass")
    assert vocabulary_of(tmp_path / "dst") == [(1, "Blob", 0), (2, "lichen", 0), (3, "grass", 1)]
    assert [s[1] for s in read(tmp_path / "dst")["1"][1]] == [1, 2, 3]


def test_masks_have_the_size_of_the_upright_image(tmp_path: Path, prepare: Prepare) -> None:
    arguments = masks_tree(tmp_path)
    save_image(tmp_path / "images" / "a" / "one.jpg", width=6, height=8, orientation=6)
    prepare(*arguments)
    assert read(tmp_path / "dst")["a/one"][0].shape == (6, 8)


def test_every_image_needs_a_mask_and_every_mask_an_image(tmp_path: Path, prepare: Prepare) -> None:
    arguments = masks_tree(tmp_path)
    bare = save_image(tmp_path / "images" / "two.jpg")
    refused(prepare, arguments, f"image {bare} has no map {tmp_path / 'masks' / 'two.png'} (1 of 2", "add the maps")
    bare.unlink()
    stray = save(tmp_path / "masks" / "two.png", np.zeros((6, 8), np.uint8))
    refused(prepare, arguments, f"map {stray} has no image of the same name (1 of 2", "add the images")
    stray.unlink()
    save(tmp_path / "which" / "b.png", np.zeros((6, 8), np.uint8))
    refused(prepare, [*arguments, "--instances", tmp_path / "which"], "one.png", "in --instances")


def test_mask_values_and_modes(tmp_path: Path, prepare: Prepare) -> None:
    arguments = masks_tree(tmp_path)
    mask = tmp_path / "masks" / "a" / "one.png"
    save(mask, np.full((6, 8), 4, np.uint8))
    refused(prepare, arguments, f"{mask} has the value 4", "add it to the vocabulary, or give --void 0,4,255")
    save(mask, np.zeros((6, 8, 3), np.uint8))
    refused(prepare, arguments, f"map {mask} has colour mode RGB: write category ids as grey")
    mask.write_text("no image")
    refused(prepare, arguments, f"map {mask} cannot be read as an image")
    save(mask, np.zeros((6, 7), np.uint8))
    refused(prepare, arguments, f"map {mask} is 7 x 6", "one.jpg is 8 x 6: give both the same size")
    claims_size(mask, 8, 11_000_000)
    refused(prepare, arguments, f"map {mask} is 8 x 11000000")
    (tmp_path / "images" / "a" / "one.jpg").write_text("no image")
    refused(prepare, arguments, "one.jpg cannot be read as an image")


def test_the_error_about_a_mask_of_the_stored_size_names_exif(tmp_path: Path, prepare: Prepare) -> None:
    arguments = masks_tree(tmp_path)
    save_image(tmp_path / "images" / "a" / "one.jpg", orientation=8)
    refused(prepare, arguments, "one.png is 8 x 6", "one.jpg is 6 x 8: the labels ignore its EXIF orientation")
