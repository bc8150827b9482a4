"""Painting and drawing of regions: what is in front, coordinates far outside, against pycocotools and plain loops."""

from __future__ import annotations

import resource

import numpy as np
import pytest
from own_sets import grid
from pycocotools import mask as runs

from opsnet.preparation.own_regions import (
    Region,
    box_mask_to_runs,
    ellipse_to_runs,
    mask_to_runs,
    paint,
    polygons_to_runs,
)

SIZE = (8, 6)


def region(text: str, category: int = 1, **more: object) -> Region:
    return Region(mask_to_runs(grid(text) > 0), category, **more)  # type: ignore[arg-type]


SMALL = "11...... 11......" + " ........" * 4
LARGE = "1111.... 1111...." + " ........" * 4


def test_a_higher_layer_is_in_front_of_a_smaller_region() -> None:
    ids, _ = paint([region(LARGE, layer=1), region(SMALL, 2)], SIZE, stuff=())
    assert set(np.unique(ids)) == {0, 1}
    ids, _ = paint([region(LARGE), region(SMALL, 2)], SIZE, stuff=())
    assert set(np.unique(ids)) == {0, 1, 2}


def test_all_crowd_of_a_class_is_one_segment() -> None:
    """The doctor reports two as an error: scoring ignores the pixels of the last one alone."""
    apart = "......11" + " ........" * 5
    ids, labels = paint([region(SMALL, is_crowd=True), region(apart, is_crowd=True)], SIZE, stuff=())
    assert [(label.id, label.is_crowd) for label in labels] == [(1, True)]
    assert (ids == 1).sum() == 6


@pytest.mark.parametrize("seed", range(20))
def test_polygons_near_the_image_are_drawn_as_pycocotools_draws_them(seed: int) -> None:
    rng = np.random.default_rng(seed)
    points = rng.uniform(-20, 60, 10).tolist()
    expected = runs.decode(runs.merge(runs.frPyObjects([points], 30, 40)))
    assert np.array_equal(runs.decode(polygons_to_runs([points], (40, 30))), expected)


@pytest.mark.parametrize("seed", range(20))
def test_far_polygons_are_drawn_as_if_they_were_not_clipped(seed: int) -> None:
    """Against pycocotools on the whole polygon, which 2,000 pixels still allow; borders move by a tenth of a pixel."""
    rng = np.random.default_rng(seed)
    points = rng.uniform(-2000, 2000, 10)
    expected = runs.decode(runs.merge(runs.frPyObjects([points.tolist()], 60, 80)))
    found = runs.decode(polygons_to_runs([points.tolist()], (80, 60)))
    assert (found != expected).mean() < 0.01


def test_a_coordinate_of_2_to_the_53_costs_no_memory() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = runs.decode(polygons_to_runs([[1, 1, 2**53, 1, 6, 6, 1, 6]], (9, 8)))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # kB; it took 24 GB
    # The two upper edges lie on y = 1 and, to the pixel, y = 6: all columns from 1 on, rows 1 to 5.
    assert found[1:6, 1:6].all()
    assert not found[0].any() and not found[6:].any() and not found[:, 0].any()


def test_a_polygon_that_is_far_outside_has_no_pixel() -> None:
    assert not runs.decode(polygons_to_runs([[1e6, 1e6, 2e6, 1e6, 2e6, 2e6]], SIZE)).any()


@pytest.mark.parametrize("value", [1e300, float("inf"), float("nan")])
def test_coordinates_that_no_image_reaches_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match="coordinate that"):
        polygons_to_runs([[1, 1, value, 1, 6, 6]], SIZE)


def test_ellipses_contain_the_pixels_whose_centre_is_inside() -> None:
    centre, (a, b), angle = (20.3, 14.8), (11.0, 5.0), 30.0
    found = runs.decode(ellipse_to_runs(centre, (a, b), angle, (40, 30)))
    for row in range(30):
        for column in range(40):
            offset = complex(column + 0.5 - centre[0], row + 0.5 - centre[1])
            turned = offset * np.exp(-1j * np.radians(angle))  # clockwise on a screen, whose y points down
            assert found[row, column] == ((turned.real / a) ** 2 + (turned.imag / b) ** 2 <= 1)


@pytest.mark.parametrize(("left", "top"), [(2, 1), (-1, -1), (6, 4), (9, 0), (-5, -5)])
def test_a_mask_at_a_place_keeps_what_is_inside(left: int, top: int) -> None:
    mask = np.array([[1, 0, 1], [1, 1, 1]], dtype=bool)
    expected = np.zeros((6, 8), bool)
    for row in range(2):
        for column in range(3):
            if 0 <= top + row < 6 and 0 <= left + column < 8:
                expected[top + row, left + column] = mask[row, column]
    assert np.array_equal(runs.decode(box_mask_to_runs(mask, left, top, SIZE)), expected)
