"""Draws panoptic maps over their images: a colour, an outline and a name for each segment."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import torch
from matplotlib import font_manager
from PIL import Image, ImageDraw, ImageFont

from opsnet.structures import PanopticMap, Segment
from opsnet.utils.files import atomic_path
from opsnet.visualization.colours import VOID, Colour, segment_colours, text_colour
from opsnet.visualization.label_layout import Box, place_labels

_SIZE = 480
"""Small images are enlarged to about this many pixels on the longer side before names are drawn."""

_PADDING = 3
COLOUR_SHARE = 0.6
"""Weight of the segments' colours in an overlay."""

_GREY_SHARE = 0.65
_AT_ONCE = 2**16
"""Pixels that are blended at a time, so that the intermediate values stay in the cache."""

_FEWEST_POINTS = 7
_VOID_NOTE = "void: not annotated, or no segment predicted"


def draw_overlay(
    image: np.ndarray, panoptic: PanopticMap, names: Sequence[str], scale: int | None = None,
    colour_share: float = COLOUR_SHARE,
) -> np.ndarray:  # fmt: skip
    """Draws segments and their names over an image.

    Args:
        image: (H, W, 3) uint8 RGB.
        panoptic: the map, at the image's size; void pixels are drawn grey.
        names: the vocabulary that the segments' labels index.
        scale: integer enlargement factor; ``None``: small images to about 480 pixels, larger ones not at all.
        colour_share: weight of the segments' colours in 0..1; the rest is the image, desaturated.

    Returns:
        (H * scale, W * scale, 3) uint8 RGB.
    """
    ids = panoptic.ids.cpu().numpy()
    _check(image, ids, panoptic.segments, names)
    scale = scale or max(1, round(_SIZE / max(ids.shape)))
    present = _values(ids)
    segments = [s for s in panoptic.segments if s.id in present]
    ids = _enlarge_ids(np.where(np.isin(ids, [s.id for s in segments]), ids, 0), scale)
    colours = segment_colours(segments, names)
    drawn = _outline(_blend(_enlarge(image, scale), ids, colours, colour_share), ids)
    return _write_names(drawn, ids, segments, names, colours)


def _values(ids: np.ndarray) -> set[int]:
    """The ids of a map (H, W): those at the start of each run of equal ones, which are few to sort."""
    flat = ids.reshape(-1)
    return set(np.unique(flat[np.append(0, np.flatnonzero(flat[1:] != flat[:-1]) + 1)]).tolist())


def _check(image: np.ndarray, ids: np.ndarray, segments: Sequence[Segment], names: Sequence[str]) -> None:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.shape[:2] != ids.shape:
        raise ValueError(
            f"an overlay needs an image (H, W, 3) uint8 and a map (H, W) of one size, got {image.shape} {image.dtype} "
            f"and {ids.shape}: crop the padding off both"
        )
    for segment in segments:
        if not 0 <= segment.label < len(names):
            raise ValueError(
                f"segment {segment.id} has the label {segment.label}, but there are {len(names)} names: "
                "pass the vocabulary with which the map was predicted"
            )


def _enlarge(image: np.ndarray, scale: int) -> np.ndarray:
    if scale == 1:
        return image
    height, width = image.shape[:2]
    return np.asarray(Image.fromarray(image).resize((width * scale, height * scale), Image.Resampling.BICUBIC))


def _enlarge_ids(ids: np.ndarray, scale: int) -> np.ndarray:
    """Enlarges segment ids with smooth borders: each pixel gets the dominant id of its neighbourhood."""
    if scale == 1:
        return ids
    size = (ids.shape[1] * scale, ids.shape[0] * scale)
    strongest = np.full(size[::-1], -1.0, dtype=np.float32)
    winner = np.zeros(size[::-1], dtype=ids.dtype)
    for value in np.unique(ids):
        mask = Image.fromarray((ids == value).astype(np.float32))
        strength = np.asarray(mask.resize(size, Image.Resampling.BILINEAR))
        better = strength > strongest
        winner[better], strongest[better] = value, strength[better]
    return winner


def _blend(image: np.ndarray, ids: np.ndarray, colours: dict[int, Colour], share: float) -> np.ndarray:
    """Blends each segment's colour over the image, which is desaturated so that its own colours do not interfere."""
    colour_of = np.full((1 + int(ids.max(initial=0)), 3), VOID, np.uint8)
    for segment, colour in colours.items():
        colour_of[segment] = colour
    blended = np.empty_like(image)
    for rows in _bands(ids.shape):  # in floating point a large image would take gigabytes
        pixels = image[rows]
        grey = pixels.mean(axis=2, keepdims=True)
        base = _GREY_SHARE * grey + (1 - _GREY_SHARE) * pixels
        blended[rows] = np.rint(share * colour_of[ids[rows]] + (1 - share) * base)
    return blended


def _bands(size: tuple[int, ...]) -> Iterator[slice]:
    """Rows of an array (H, W) in consecutive groups of about :data:`_AT_ONCE` pixels."""
    height = max(1, _AT_ONCE // max(1, size[1]))
    for start in range(0, size[0], height):
        yield slice(start, start + height)


def _outline(image: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Draws white contours with a dark rim between segments, visible on every colour."""
    across = ids[:, 1:] != ids[:, :-1]
    down = ids[1:] != ids[:-1]
    edge = np.pad(across, ((0, 0), (0, 1))) | np.pad(down, ((0, 1), (0, 0)))
    width = max(1, round(min(ids.shape) / 480))
    white = _grow(edge, width - 1)
    drawn: np.ndarray = image.copy()
    drawn[_grow(white, width)] = (25, 25, 25)
    drawn[white] = (255, 255, 255)
    return drawn


def _grow(mask: np.ndarray, pixels: int) -> np.ndarray:
    """``mask`` dilated by ``pixels`` in each of the four directions."""
    for _ in range(pixels):
        padded = np.pad(mask, 1)
        mask = mask | padded[2:, 1:-1] | padded[:-2, 1:-1] | padded[1:-1, 2:] | padded[1:-1, :-2]
    return mask


@cache
def _font_path() -> str:
    return str(font_manager.findfont(font_manager.FontProperties(family="DejaVu Sans")))


def font(points: int) -> ImageFont.FreeTypeFont:
    """The font of all labels: DejaVu Sans, which ships with matplotlib."""
    return ImageFont.truetype(_font_path(), points)


def _write_names(
    image: np.ndarray, ids: np.ndarray, segments: Sequence[Segment], names: Sequence[str], colours: dict[int, Colour]
) -> np.ndarray:
    texts = {s.id: names[s.label] for s in segments}
    points = max(11, round(0.03 * (ids.shape[0] * ids.shape[1]) ** 0.5))
    typeface = _fitting_font(texts.values(), points, ids.shape[1])
    sizes = {i: _text_size(typeface, text) for i, text in texts.items()}
    boxes = place_labels(ids, sizes, frozenset(s.id for s in segments if s.is_thing))
    canvas = Image.fromarray(image)
    draw = ImageDraw.Draw(canvas)
    for segment, box in boxes.items():
        if not box.touches:
            _draw_leader(draw, box, ids == segment)
    for segment, box in boxes.items():
        _draw_name(draw, box, texts[segment], colours[segment], typeface)
    return np.asarray(canvas)


def _fitting_font(texts: Iterable[str], points: int, width: int) -> ImageFont.FreeTypeFont:
    """The font at ``points``, or at the largest smaller size at which every text fits into ``width`` pixels."""
    longest = max(texts, key=len, default="")
    while points > _FEWEST_POINTS and _text_size(font(points), longest)[0] > width:
        points -= 1
    return font(points)


def _text_size(typeface: ImageFont.FreeTypeFont, text: str) -> tuple[int, int]:
    """Width and height in pixels of the text's box."""
    ascent, descent = typeface.getmetrics()
    return round(typeface.getlength(text)) + 2 * _PADDING + 2, ascent + descent + 2


def _draw_name(
    draw: ImageDraw.ImageDraw, box: Box, text: str, colour: Colour, typeface: ImageFont.FreeTypeFont
) -> None:
    corner = (box.left, box.top, box.left + box.width - 1, box.top + box.height - 1)
    draw.rounded_rectangle(corner, radius=3, fill=colour, outline=(25, 25, 25))
    draw.text((box.left + _PADDING + 1, box.top + 1), text, font=typeface, fill=text_colour(colour))


def _draw_leader(draw: ImageDraw.ImageDraw, box: Box, mask: np.ndarray) -> None:
    """Draws a line from a name that is not on its segment to the segment's nearest pixel."""
    centre = (box.left + box.width / 2, box.top + box.height / 2)
    rows, columns = np.nonzero(mask)
    nearest = int(np.argmin((rows - centre[1]) ** 2 + (columns - centre[0]) ** 2))
    line = (*centre, float(columns[nearest]), float(rows[nearest]))
    width = max(1, round(min(mask.shape) / 480))
    draw.line(line, fill=(25, 25, 25), width=width + 2)
    draw.line(line, fill=(255, 255, 255), width=width)


def panel(
    rows: Sequence[tuple[np.ndarray, PanopticMap, PanopticMap]], names: Sequence[str], titles: Sequence[str], out: Path
) -> Path:
    """Writes a PNG of images next to their ground truth and prediction, one image per row.

    Args:
        rows: image (H, W, 3) uint8 RGB, ground truth and prediction of each row.
        names: the vocabulary of both maps.
        titles: headings of the three columns, for example "image", "ground truth", "OPSNet".
        out: file to write, replaced atomically.
    """
    if not rows or len(titles) != 3:
        raise ValueError(
            f"a panel needs at least one row and three column titles; got {len(rows)} rows and {list(titles)}"
        )
    void = any(_has_void(panoptic) for _, *maps in rows for panoptic in maps)
    return sheet([_cells(*row, names) for row in rows], titles, out, note=_VOID_NOTE if void else "")


def _has_void(panoptic: PanopticMap) -> bool:
    return bool((~torch.isin(panoptic.ids, torch.tensor([s.id for s in panoptic.segments]))).any())


def sheet(cells: Sequence[Sequence[np.ndarray]], titles: Sequence[str], out: Path, note: str = "") -> Path:
    """Writes a PNG of images in rows and columns.

    Args:
        cells: rows of images (H, W, 3) uint8 RGB of any sizes; a row may be shorter than the titles.
        titles: headings of the columns.
        out: file to write, replaced atomically.
        note: what void pixels mean, written below the rows beside a square of their colour; empty: no such line.
    """
    width, gap = max(c.shape[1] for line in cells for c in line), 12
    points = max(14, width // 28)
    heights = [max(c.shape[0] for c in line) for line in cells]
    below = 2 * points if note else 0
    size = (len(titles) * (width + gap) + gap, sum(heights) + gap * (len(cells) + 1) + 2 * points + below)
    drawn = Image.new("RGB", size, "white")
    draw, top = ImageDraw.Draw(drawn), gap + 2 * points
    for column, title in enumerate(titles):
        centre = gap + column * (width + gap) + width // 2
        draw.text((centre, gap // 2 + points), title, font=font(points), fill=(25, 25, 25), anchor="mm")
    for line, height in zip(cells, heights, strict=True):
        for column, cell in enumerate(line):
            left = gap + column * (width + gap) + (width - cell.shape[1]) // 2
            drawn.paste(Image.fromarray(cell), (left, top + (height - cell.shape[0]) // 2))
        top += height + gap
    if note:
        draw.rectangle((gap, top, gap + points, top + points), fill=VOID, outline=(25, 25, 25))
        draw.text((2 * gap + points, top + points // 2), note, font=font(points), fill=(25, 25, 25), anchor="lm")
    return _save_png(drawn, out)


def _cells(image: np.ndarray, truth: PanopticMap, prediction: PanopticMap, names: Sequence[str]) -> list[np.ndarray]:
    overlays = [draw_overlay(image, panoptic, names) for panoptic in (truth, prediction)]
    return [_enlarge(image, overlays[0].shape[0] // image.shape[0]), *overlays]


def _save_png(image: Image.Image, out: Path) -> Path:
    with atomic_path(out) as temporary:
        image.save(temporary, format="PNG")
    return out
