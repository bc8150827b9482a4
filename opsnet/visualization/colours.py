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

_HUES = {
    "red": 0.0, "orange": 0.08, "brown": 0.08, "yellow": 0.15, "green": 0.34, "turquoise": 0.48, "cyan": 0.5,
    "blue": 0.61, "violet": 0.74, "purple": 0.78, "pink": 0.91,
}  # fmt: skip
"""Hues of the colours that names mention: an overlay in which a blue square is red would confuse."""

_SPREAD = 0.05
"""Range of hues of the classes that mention one colour."""

_SHADES = 0.9
"""Range of an instance's shade: from 45% towards black to 45% towards white."""


def class_colour(label: int, name: str = "") -> Colour:
    """The colour of class ``label``, which depends on nothing but its name; never the grey of void.

    A class whose name mentions a colour, such as "red car", has a colour of about that hue.
    """
    step = label * _GOLDEN
    mentioned = next((_HUES[word] for word in name.casefold().split() if word in _HUES), None)
    hue = _FIRST + step if mentioned is None else mentioned + (step % 1 - 0.5) * _SPREAD
    red, green, blue = colorsys.hsv_to_rgb(hue % 1, *_TONES[label % len(_TONES)])
    return round(red * 255), round(green * 255), round(blue * 255)


def segment_colours(segments: Sequence[Segment], names: Sequence[str] = ()) -> dict[int, Colour]:
    """Segment id -> colour: that of its class; further instances of a class, by id, are lighter or darker shades.

    Args:
        segments: the segments.
        names: the vocabulary that their labels index.
    """
    seen: dict[int, int] = {}
    colours = {}
    for segment in sorted(segments, key=lambda s: s.id):
        instance = seen.get(segment.label, 0)
        seen[segment.label] = instance + 1
        name = names[segment.label] if names else ""
        colours[segment.id] = _shade(class_colour(segment.label, name), instance)
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
