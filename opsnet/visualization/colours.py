"""Muted colours of classes: the same in every image, in ground truth and prediction; instances are shades of it."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

from opsnet.structures import Segment

VOID = (128, 128, 128)
"""Colour of void pixels."""

Colour = tuple[int, int, int]
"""Red, green, blue in 0..255."""

_GOLDEN = 0.618034
"""Steps by this fraction of a circle spread any number of values evenly, and put neighbours far apart."""

_FIRST = 0.57
"""Hue of class 0: blue, because a red first class looks like a warning."""

_TONES = ((0.55, 0.84), (0.65, 0.58), (0.38, 0.95))
"""Saturation and value of every third class: medium, dark, pale. All are muted, so that the image stays readable."""

_SHADES = 0.9
"""Range of an instance's shade: from 45% towards black to 45% towards white."""


def class_colour(label: int) -> Colour:
    """The colour of class ``label``, which depends on nothing else; never the grey of void."""
    red, green, blue = colorsys.hsv_to_rgb((_FIRST + label * _GOLDEN) % 1, *_TONES[label % len(_TONES)])
    return round(red * 255), round(green * 255), round(blue * 255)


def segment_colours(segments: Sequence[Segment]) -> dict[int, Colour]:
    """Segment id -> colour: that of its class; further instances of a class, by id, are lighter or darker shades."""
    seen: dict[int, int] = {}
    colours = {}
    for segment in sorted(segments, key=lambda s: s.id):
        instance = seen.get(segment.label, 0)
        seen[segment.label] = instance + 1
        colours[segment.id] = _shade(class_colour(segment.label), instance)
    return colours


def _shade(colour: Colour, instance: int) -> Colour:
    amount = ((instance * _GOLDEN + 0.5) % 1 - 0.5) * _SHADES  # 0 for the first
    towards, share = (255, amount) if amount > 0 else (0, -amount)
    red, green, blue = (round(value + (towards - value) * share) for value in colour)
    return red, green, blue


def text_colour(background: Colour) -> Colour:
    """Black or white, whichever has the better contrast on ``background``."""
    luma = 0.299 * background[0] + 0.587 * background[1] + 0.114 * background[2]
    return (0, 0, 0) if luma > 140 else (255, 255, 255)
