"""Colours: one a segment, the same each time, tied to names where possible."""

from __future__ import annotations

import itertools

import pytest

from opsnet.structures import Segment
from opsnet.visualization.colours import VOID, palette, segment_colours, text_colour


def segments(labels: list[int]) -> list[Segment]:
    return [Segment(id=i + 1, label=label, is_thing=True) for i, label in enumerate(labels)]


@pytest.mark.parametrize("count", [1, 36, 37, 100, 250])
def test_palette_has_no_colour_twice_and_no_void(count):
    colours = palette(count)
    assert len(colours) >= count
    assert len(set(colours)) == len(colours)
    assert VOID not in colours


@pytest.mark.parametrize("labels", [[0] * 12, list(range(12)), [5, 5, 41, 77, 0, 0, 0], [0] * 120])
def test_every_segment_has_its_own_colour(labels):
    colours = segment_colours(segments(labels))
    assert len(set(colours.values())) == len(labels)


def test_a_few_segments_differ_clearly():
    colours = segment_colours(segments([0, 0, 0, 1, 2, 3, 36, 37, 38]))
    for a, b in itertools.combinations(colours.values(), 2):
        assert sum(abs(x - y) for x, y in zip(a, b, strict=True)) > 60


def test_colours_do_not_depend_on_the_order_of_the_segments():
    listed = segments([3, 1, 1, 7])
    assert segment_colours(listed) == segment_colours(listed[::-1])


def test_a_name_keeps_its_colour_in_another_image():
    one = segment_colours([Segment(1, 4, True), Segment(2, 9, True)])
    two = segment_colours([Segment(8, 9, True)])
    assert one[2] == two[8]


def test_text_is_black_on_bright_and_white_on_dark():
    assert text_colour((250, 250, 60)) == (0, 0, 0)
    assert text_colour((60, 10, 90)) == (255, 255, 255)
