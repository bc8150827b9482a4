"""Distinct colours for the segments of an image, reproducible and, if possible, the same for a name in every image."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

import numpy as np

from opsnet.structures import Segment

VOID = (128, 128, 128)
"""Colour of void pixels."""

Colour = tuple[int, int, int]
"""Red, green, blue in 0..255."""

_HUES = 12
_TONES = ((0.85, 0.95), (0.9, 0.62), (0.42, 1.0))
"""Saturation and value: bright, dark, pale."""

_CLEARLY_APART = 110.0
"""Redmean distance above which two colours are easy to distinguish."""


def palette(count: int) -> list[Colour]:
    """At least ``count`` different colours other than the grey of void; neighbours in the list differ much in hue."""
    hues = max(_HUES, -(-count // len(_TONES)))
    stride = next(s for s in range(round(hues * 0.4), hues + 1) if np.gcd(s, hues) == 1)
    order = [(tone, (step * stride) % hues) for tone in range(len(_TONES)) for step in range(hues)]
    rgb = [colorsys.hsv_to_rgb((hue + tone / 3) / hues, *_TONES[tone]) for tone, hue in order]
    return [(round(r * 255), round(g * 255), round(b * 255)) for r, g, b in rgb]


def segment_colours(segments: Sequence[Segment]) -> dict[int, Colour]:
    """Segment id -> colour, all different.

    A segment's label determines its preferred colour, so a name usually has the same colour in all images. If that is
    too similar to a colour in use, the next sufficiently different one is taken; if there is none, the most different.
    """
    candidates = np.array(palette(len(segments)))
    gaps = np.full(len(candidates), np.inf)
    chosen: dict[int, Colour] = {}
    for segment in sorted(segments, key=lambda s: (s.label, s.id)):
        ordered = np.roll(gaps, -segment.label)
        place = int(np.argmax(ordered >= _CLEARLY_APART)) if ordered.max() >= _CLEARLY_APART else int(ordered.argmax())
        colour = candidates[(place + segment.label) % len(candidates)]
        gaps = np.minimum(gaps, _distances(candidates, colour))
        chosen[segment.id] = (int(colour[0]), int(colour[1]), int(colour[2]))
    return chosen


def class_colours(segments: Sequence[Segment], classes: int) -> dict[int, Colour]:
    """Segment id -> the colour of its class, the same in all images and frames with a vocabulary of ``classes`` names.

    The first 36 names have clearly different colours, further ones are closer to each other.
    """
    colours = palette(classes)
    return {s.id: colours[s.label] for s in segments}


def _distances(colours: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Perceptual difference of (n, 3) colours to ``other``: the "redmean" distance in RGB, 0 to about 765, (n,)."""
    red = (colours[:, 0] + other[0]) / 2
    weights = np.stack([2 + red / 256, np.full_like(red, 4.0), 2 + (255 - red) / 256], axis=1)
    distances: np.ndarray = np.sqrt((weights * (colours - other) ** 2).sum(axis=1))
    return distances


def text_colour(background: Colour) -> Colour:
    """Black or white, whichever has the better contrast on ``background``."""
    luma = 0.299 * background[0] + 0.587 * background[1] + 0.114 * background[2]
    return (0, 0, 0) if luma > 140 else (255, 255, 255)
