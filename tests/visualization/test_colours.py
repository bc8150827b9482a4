"""Colours: one per class in every image, instances as shades of it, readable text."""

from __future__ import annotations

import itertools

import pytest

from opsnet.structures import Segment
from opsnet.visualization.colours import VOID, class_colour, segment_colours, text_colour


def segments(labels: list[int]) -> list[Segment]:
    return [Segment(id=i + 1, label=label, is_thing=True) for i, label in enumerate(labels)]


def apart(a: tuple[int, ...], b: tuple[int, ...]) -> int:
    return sum(abs(x - y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("count", [12, 133, 171])
def test_classes_have_different_colours_and_none_is_void(count):
    colours = [class_colour(label) for label in range(count)]
    assert len(set(colours)) == count
    assert min(apart(colour, VOID) for colour in colours) > 60


def test_neighbouring_classes_differ_clearly():
    for a, b in itertools.combinations(map(class_colour, range(8)), 2):
        assert apart(a, b) > 60


def test_a_class_has_the_same_colour_whatever_else_is_in_the_image():
    truth = segment_colours([Segment(1, 4, False), Segment(2, 9, True), Segment(3, 17, False)])
    prediction = segment_colours([Segment(8, 9, True), Segment(9, 4, False), Segment(11, 30, True)])
    assert truth[2] == prediction[8] == class_colour(9)
    assert truth[1] == prediction[9] == class_colour(4)


@pytest.mark.parametrize(
    ("name", "strongest"), [("red circle", 0), ("blue waves", 2), ("Green stripes", 1), ("car in blue", 2)]
)
def test_a_name_that_mentions_a_colour_has_about_that_colour(name, strongest):
    for label in range(30):
        colour = class_colour(label, name)
        assert colour.index(max(colour)) == strongest


def test_classes_of_one_mentioned_colour_still_differ():
    colours = [class_colour(label, f"red {shape}") for label, shape in enumerate(("circle", "square", "moon"))]
    for a, b in itertools.combinations(colours, 2):
        assert apart(a, b) > 30


def test_instances_of_a_class_are_shades_of_its_colour():
    colours = segment_colours(segments([5, 5, 5, 5, 8]))
    assert colours[1] == class_colour(5)
    shades = [colours[i] for i in (1, 2, 3, 4)]
    for a, b in itertools.combinations(shades, 2):
        assert apart(a, b) > 20
    hues = [max(range(3), key=lambda channel: shade[channel]) for shade in shades]
    assert len(set(hues)) == 1


@pytest.mark.parametrize("labels", [[0] * 12, list(range(12)), [5, 5, 41, 77, 0, 0, 0], [0] * 60])
def test_every_segment_has_its_own_colour(labels):
    colours = segment_colours(segments(labels))
    assert len(set(colours.values())) == len(labels)


def test_colours_do_not_depend_on_the_order_of_the_segments():
    listed = segments([3, 1, 1, 7])
    assert segment_colours(listed) == segment_colours(listed[::-1])


def test_text_is_black_on_bright_and_white_on_dark():
    assert text_colour((250, 250, 60)) == (0, 0, 0)
    assert text_colour((60, 10, 90)) == (255, 255, 255)
