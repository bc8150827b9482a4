"""Overlays: each segment in its own colour, named, at the drawn size; void in grey; panels in three columns."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from opsnet.structures import PanopticMap, Segment
from opsnet.visualization.colours import VOID, segment_colours
from opsnet.visualization.overlays import draw_overlay, panel

NAMES = ("grass", "sky", "cat", "dog")
BLANK = ("", "", "", "")


@pytest.fixture
def image() -> np.ndarray:
    return np.full((96, 96, 3), 200, dtype=np.uint8)


@pytest.fixture
def scene() -> PanopticMap:
    """Sky over grass, two cats, and a void corner."""
    ids = torch.ones(96, 96, dtype=torch.int64)
    ids[48:] = 2
    ids[30:66, 6:36] = 3
    ids[30:66, 60:90] = 4
    ids[86:, 86:] = 0
    segments = (Segment(1, 1, False), Segment(2, 0, False), Segment(3, 2, True), Segment(4, 2, True))
    return PanopticMap(ids, segments)


def inner_colour(drawn: np.ndarray, row: int, column: int) -> tuple[int, ...]:
    """Colour at a point of the 96 x 96 map; overlays here are five times as large."""
    return tuple(int(v) for v in drawn[row * 5 + 2, column * 5 + 2])


POINTS = {1: (8, 8), 2: (80, 8), 3: (60, 10), 4: (60, 86)}


def test_small_images_are_enlarged_to_480_and_large_ones_kept(image, scene):
    assert draw_overlay(image, scene, NAMES).shape == (480, 480, 3)
    assert draw_overlay(image, scene, NAMES, scale=2).shape == (192, 192, 3)
    large = PanopticMap(torch.ones(480, 640, dtype=torch.int64), (Segment(1, 0, False),))
    assert draw_overlay(np.zeros((480, 640, 3), np.uint8), large, NAMES).shape == (480, 640, 3)


def test_every_segment_has_one_colour_of_its_own(image, scene):
    drawn = draw_overlay(image, scene, BLANK)
    seen = {segment: inner_colour(drawn, *point) for segment, point in POINTS.items()}
    assert len(set(seen.values())) == 4
    # Six tenths of the segment's colour over the image's grey of 200.
    for segment, colour in segment_colours(scene.segments).items():
        assert seen[segment] == pytest.approx([0.6 * c + 0.4 * 200 for c in colour], abs=1)


def test_void_and_unlisted_ids_are_grey(image, scene):
    drawn = draw_overlay(image, PanopticMap(scene.ids, scene.segments[:2]), BLANK)
    for point in ((92, 92), POINTS[3], POINTS[4]):
        assert len(set(inner_colour(drawn, *point))) == 1
    assert len(set(inner_colour(drawn, *POINTS[1]))) > 1


def test_contours_lie_between_segments_only(image, scene):
    drawn = draw_overlay(image, scene, BLANK).astype(int)
    white = (drawn == 255).all(-1)
    assert white[235:245, 230].any()  # sky meets grass at row 48
    assert not white[20:140, 20:460].any()


def test_each_name_is_written_once(image, scene):
    named = draw_overlay(image, scene, NAMES).astype(int)
    other = draw_overlay(image, scene, ("grass", "sky", "horse", "dog")).astype(int)
    changed = (named != other).any(-1)
    # Only the two cats are called differently; the change is two separate small patches, one on each.
    assert changed[:, :240].any()
    assert changed[:, 240:].any()
    assert changed[:, 185:295].sum() == 0
    assert changed.mean() < 0.05


def test_an_image_with_no_segment_is_plain(image):
    ids = torch.zeros(96, 96, dtype=torch.int64)
    ids[20:40, 20:40] = 9  # an id that no segment claims is void too: no contour around it
    drawn = draw_overlay(image, PanopticMap(ids, ()), NAMES)
    assert (drawn == drawn[0, 0]).all()


def test_the_input_stays_as_it_was(image, scene):
    before, ids = image.copy(), scene.ids.clone()
    draw_overlay(image, scene, NAMES)
    assert (image == before).all()
    assert torch.equal(scene.ids, ids)


def test_sizes_and_labels_that_do_not_fit_are_refused(image, scene):
    with pytest.raises(ValueError, match="crop the padding off both"):
        draw_overlay(image[:90], scene, NAMES)
    with pytest.raises(ValueError, match="uint8"):
        draw_overlay(image / 255, scene, NAMES)
    with pytest.raises(ValueError, match=r"segment 3 has the label 2, but there are 2 names"):
        draw_overlay(image, scene, NAMES[:2])


def test_panel_puts_image_truth_and_prediction_side_by_side(tmp_path, image, scene):
    prediction = PanopticMap(torch.zeros(96, 96, dtype=torch.int64), ())
    out = panel([(image, scene, prediction)] * 2, NAMES, ("image", "truth", "OPSNet"), tmp_path / "new" / "panel.png")
    pixels = np.asarray(Image.open(out)).astype(int)
    assert pixels.shape == (2 * 480 + 3 * 12 + 4 * 17, 3 * 480 + 4 * 12, 3)
    assert pixels[-2 * 17 + 5, 12 + 5].tolist() == list(VOID)  # the legend's square
    grey = (pixels.max(-1) - pixels.min(-1)) == 0
    thirds = [grey[60:-40, 12 + i * 492 : 12 + i * 492 + 480].mean() for i in range(3)]
    assert thirds[0] == 1
    assert thirds[1] < 0.3
    assert thirds[2] == 1
    assert (pixels[:40] < 100).any()  # titles
    assert [p.name for p in out.parent.iterdir()] == ["panel.png"]


def test_a_panel_without_void_has_no_legend(tmp_path, image, scene):
    full = PanopticMap(scene.ids.clamp(min=1), scene.segments)
    out = panel([(image, full, full)], NAMES, ("image", "truth", "OPSNet"), tmp_path / "panel.png")
    assert Image.open(out).size == (3 * 480 + 4 * 12, 480 + 2 * 12 + 2 * 17)


def test_a_class_has_one_colour_in_truth_and_prediction(tmp_path, image, scene):
    moved = PanopticMap(
        torch.where(scene.ids == 1, 7, scene.ids), (Segment(7, 1, False), *scene.segments[1:3], Segment(4, 3, True))
    )
    out = panel([(image, scene, moved)], NAMES, ("image", "truth", "OPSNet"), tmp_path / "panel.png")
    pixels = np.asarray(Image.open(out))
    row, truth, prediction = 12 + 2 * 17 + 60, 12 + 492 + 60, 12 + 2 * 492 + 60
    assert (pixels[row, truth] == pixels[row, prediction]).all()


def test_panel_needs_one_title_per_column(tmp_path, image, scene):
    with pytest.raises(ValueError, match="three column titles"):
        panel([(image, scene, scene)], NAMES, ("image", "truth"), tmp_path / "panel.png")
