"""A sheet of a set's images with their ground truth painted over, for the eye to find what no rule finds."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

from opsnet.data.inspection import AnnotatedImage, read_sample
from opsnet.structures import PanopticMap
from opsnet.visualization.overlays import draw_overlay, font, sheet
from opsnet.vocabulary import Vocabulary

_SIDE = 640
"""Pixels of the longer side to which large images are reduced, so that names stay legible on the sheet."""

_PAIRS_A_ROW = 2


def sample_sheet(images: Sequence[AnnotatedImage], vocabulary: Vocabulary, out: Path) -> Path:
    """Writes images beside their ground truth, two pairs a row, each with its file's name.

    Args:
        images: drawable ones, at least one.
        vocabulary: of their labels; crowd is marked as such, and unknown categories are grey like void.
        out: the PNG to write, replaced as a whole.
    """
    pairs = [_pair(image, vocabulary) for image in images]
    starts = range(0, len(pairs), _PAIRS_A_ROW)
    rows = [[cell for pair in pairs[i : i + _PAIRS_A_ROW] for cell in pair] for i in starts]
    return sheet(rows, ("image", "ground truth") * min(_PAIRS_A_ROW, len(pairs)), out)


def _pair(image: AnnotatedImage, vocabulary: Vocabulary) -> list[np.ndarray]:
    pixels, truth = read_sample(image, vocabulary)
    pixels, ids = _reduce(pixels, truth.ids.numpy())
    # A second half of names instead of a flag: the overlay knows names alone.
    names = [*vocabulary.names, *(f"{name} (crowd)" for name in vocabulary.names)]
    segments = tuple(dataclasses.replace(s, label=s.label + len(vocabulary) * s.is_crowd) for s in truth.segments)
    drawn = draw_overlay(pixels, PanopticMap(torch.from_numpy(ids), segments), names)
    plain = Image.fromarray(pixels).resize((drawn.shape[1], drawn.shape[0]), Image.Resampling.BICUBIC)
    caption = image.image_file.name if image.image_file else image.name
    return [_captioned(np.asarray(plain), caption), _captioned(drawn, image.name)]


def _reduce(pixels: np.ndarray, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Image (H, W, 3) and ids (H, W) at a longer side of at most ``_SIDE``; the overlay enlarges small ones."""
    share = min(1.0, _SIDE / max(ids.shape))
    height, width = (max(1, round(side * share)) for side in ids.shape)
    rows, columns = (np.arange(n) * side // n for n, side in zip((height, width), ids.shape, strict=True))
    reduced = Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(reduced), ids[rows][:, columns]


def _captioned(pixels: np.ndarray, text: str) -> np.ndarray:
    """The image over its name."""
    points = max(13, pixels.shape[1] // 40)
    strip = Image.new("RGB", (pixels.shape[1], round(1.8 * points)), "white")
    draw, middle = ImageDraw.Draw(strip), (pixels.shape[1] // 2, round(0.9 * points))
    draw.text(middle, text, font=font(points), fill=(25, 25, 25), anchor="mm")
    return np.concatenate([pixels, np.asarray(strip)])
