"""Polygons of masks: filled again by Pillow and by pycocotools, they give the mask."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from PIL import Image, ImageDraw

from opsnet.prediction.polygons import mask_polygons

SCALE = 4  # Pillow paints the pixels that an outline runs through, so a pixel is read at its centre


def filled(polygons, shape: tuple[int, int]) -> np.ndarray:
    """Each polygon painted, then its holes erased."""
    height, width = shape
    whole = np.zeros(shape, bool)
    for exterior, *holes in polygons:
        canvas = Image.new("1", (width * SCALE, height * SCALE))
        for ring, value in [(exterior, 1), *((hole, 0) for hole in holes)]:
            draw = ImageDraw.Draw(canvas)
            draw.polygon([(x * SCALE, y * SCALE) for x, y in ring], fill=value, outline=value)
        half = SCALE // 2
        whole |= np.asarray(canvas)[half::SCALE, half::SCALE]
    return whole


def mask(*rows: str) -> np.ndarray:
    return np.array([[letter == "#" for letter in row] for row in rows])


SHAPES = {
    "one pixel": mask("...", ".#.", "..."),
    "all": mask("##", "##"),
    "nothing": mask("..", ".."),
    "hole": mask("####", "#..#", "####"),
    "island in a hole": mask("#####", "#...#", "#.#.#", "#...#", "#####"),
    "corner": mask("#.", ".#"),
    "holes that share a corner": mask("#####", "#.###", "##.##", "#####"),
    "closed by a corner": mask("###.", "#.#.", "#..#", "####"),
    "several": mask("#.#", "...", "#.#"),
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_filling_the_polygons_gives_the_mask(shape) -> None:
    assert np.array_equal(filled(mask_polygons(shape), shape.shape), shape)


def test_parts_and_holes_by_hand() -> None:
    assert mask_polygons(SHAPES["one pixel"]) == [[[[2, 1], [2, 2], [1, 2], [1, 1], [2, 1]]]]
    counts = {name: [len(polygon) for polygon in mask_polygons(shape)] for name, shape in SHAPES.items()}
    assert counts == {
        "one pixel": [1], "all": [1], "nothing": [], "hole": [2], "island in a hole": [2, 1], "corner": [1, 1],
        "holes that share a corner": [3], "closed by a corner": [2], "several": [1, 1, 1, 1],
    }  # fmt: skip


@pytest.mark.parametrize("share", [0.3, 0.5, 0.7, 0.95])
def test_random_masks(share: float) -> None:
    """Noise has every case: corners, holes in holes, parts of one pixel."""
    noise = np.random.default_rng(0).random((40, 50)) < share
    polygons = mask_polygons(noise)
    assert np.array_equal(filled(polygons, noise.shape), noise)
    areas = 0.0
    for exterior, *holes in polygons:
        for ring in (exterior, *holes):
            assert ring[0] == ring[-1]
            assert max(Counter(map(tuple, ring[1:])).values()) == 1  # a ring touches itself nowhere
            x, y = np.array(ring, dtype=float).T
            areas += (signed := (x[:-1] * y[1:] - x[1:] * y[:-1]).sum() / 2)
            assert (signed > 0) == (ring is exterior)  # counterclockwise, as RFC 7946 wants it; holes clockwise
    assert areas == noise.sum()
