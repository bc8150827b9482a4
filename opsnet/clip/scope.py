"""What a small CLIP was trained on: the words of its captions, and measures of its images.

OpenAI's CLIP has read and seen much of the web. The miniature's has seen 15,000 drawn images with 28 words, and its
embeddings of anything else are arbitrary. Both limits are checked exactly or by measurement: the words are those of the
captions, and the bounds of the images were measured on drawn scenes and on photographs (docs/scores.md has the false
alarms and misses, ``python -m scripts.miniature.cautions`` prints them).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from opsnet.utils.errors import InputError
from opsnet.vocabulary import Vocabulary

MEASURED = 250_000
"""Pixels per image that are measured, in evenly spaced rows."""


@dataclass(frozen=True)
class ImageMeasures:
    """Two measures of an image that separate drawings in bright flat colours from photographs.

    Attributes:
        chroma: mean over pixels of the largest minus the smallest of R, G and B, in 0..255.
        contrast: median over horizontal neighbours of their absolute difference, averaged over R, G and B, in 0..255:
            the noise of the image.
    """

    chroma: float
    contrast: float

    @classmethod
    def of(cls, pixels: NDArray[np.uint8]) -> ImageMeasures:
        """Measures an image (H, W, 3), RGB."""
        rows = pixels[:: 1 + pixels.shape[0] * pixels.shape[1] // MEASURED].astype(np.int16)
        steps = np.abs(np.diff(rows, axis=1)).sum(-1)
        contrast = float(np.median(steps)) / 3 if steps.size else 0.0
        return cls(float((rows.max(-1) - rows.min(-1)).mean()), contrast)


@dataclass(frozen=True)
class Scope:
    """What a CLIP was trained on.

    Attributes:
        words: the words of its captions, lower case.
        chroma: minimum, and
        contrast: minimum and maximum of the measures of its images, with a margin for JPEG and other sizes.
    """

    words: frozenset[str]
    chroma: float
    contrast: tuple[float, float]

    def has_name(self, name: str) -> bool:
        """Whether every word of a name is in the captions."""
        return set(words_of(name)) <= self.words

    def has_image(self, pixels: NDArray[np.uint8]) -> bool:
        """Whether an image (H, W, 3), RGB, is like the training images by both measures."""
        measured = ImageMeasures.of(pixels)
        low, high = self.contrast
        return measured.chroma >= self.chroma and low <= measured.contrast <= high


def words_of(text: str) -> list[str]:
    """The words of a text, lower case."""
    return re.findall(r"\w+", text.lower())


SCENES = "scenes_world"
BOUNDS = {SCENES: (66.0, (3.5, 17.0))}
"""Packaged vocabularies that captions were made of -> ``chroma`` and ``contrast`` of the images."""


def scope_of(captions: str | None) -> Scope | None:
    """The scope of a CLIP that was trained on the captions of a packaged vocabulary; ``None`` for ``None``: unknown.

    Raises:
        InputError: no images of such captions were measured.
    """
    if captions is None:
        return None
    if captions not in BOUNDS:
        raise InputError(
            f"clip.model.architecture.captions={captions} is none of {', '.join(BOUNDS)}: give null for a CLIP that "
            "was trained on other captions"
        )
    names = [name for concept in Vocabulary.load(captions).concepts for name in concept.names]
    chroma, contrast = BOUNDS[captions]
    return Scope(frozenset(word for name in names for word in words_of(name)), chroma, contrast)
