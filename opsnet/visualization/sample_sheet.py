"""A sheet of a set's images with their ground truth, for visual inspection."""

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
"""Large images are reduced to this many pixels on the longer side, so that names stay legible on the sheet."""

_PAIRS_A_ROW = 2


def sample_sheet(images: Sequence[AnnotatedImage], vocabulary: Vocabulary, out: Path) -> Path:
    """Writes images next to their ground truth, two pairs per row, each with its file name.

    Args:
        images: drawable images, at least one.
        vocabulary: the vocabulary of their labels; crowd is marked as such, unknown categories are grey like void.
        out: the PNG to write, replaced atomically.
    """
    pairs = [_pair(image, vocabulary) for image in images]
    starts = range(0, len(pairs), _PAIRS_A_ROW)
    rows = [[cell for pair in pairs[i : i + _PAIRS_A_ROW] for cell in pair] for i in starts]
    return sheet(rows, ("image", "ground truth") * min(_PAIRS_A_ROW, len(pairs)), out)


def _pair(image: AnnotatedImage, vocabulary: Vocabulary) -> list[np.ndarray]:
    pixels, truth = read_sample(image, vocabulary)
    pixels, ids = _reduce(pixels, truth.ids.numpy())
    # Crowd gets separate labels with their own names, because the overlay has no crowd flag.
    names = [*vocabulary.names, *(f"{name} (crowd)" for name in vocabulary.names)]
    segments = tuple(dataclasses.replace(s, label=s.label + len(vocabulary) * s.is_crowd) for s in truth.segments)
    drawn = draw_overlay(pixels, PanopticMap(torch.from_numpy(ids), segments), names)
    plain = Image.fromarray(pixels).resize((drawn.shape[1], drawn.shape[0]), Image.Resampling.BICUBIC)
    caption = image.image_file.name if image.image_file else image.name
    return [_captioned(np.asarray(plain), caption), _captioned(drawn, image.name)]


def _reduce(pixels: np.ndarray, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Reduces an image (H, W, 3) and ids (H, W) to at most ``_SIDE`` pixels on the longer side."""
    share = min(1.0, _SIDE / max(ids.shape))
    height, width = (max(1, round(side * share)) for side in ids.shape)
    rows, columns = (np.arange(n) * side // n for n, side in zip((height, width), ids.shape, strict=True))
    reduced = Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(reduced), ids[rows][:, columns]


def _captioned(pixels: np.ndarray, text: str) -> np.ndarray:
    """The image with a caption below it."""
    points = max(13, pixels.shape[1] // 40)
    strip = Image.new("RGB", (pixels.shape[1], round(1.8 * points)), "white")
    draw, middle = ImageDraw.Draw(strip), (pixels.shape[1] // 2, round(0.9 * points))
    draw.text(middle, text, font=font(points), fill=(25, 25, 25), anchor="mm")
    return np.concatenate([pixels, np.asarray(strip)])
