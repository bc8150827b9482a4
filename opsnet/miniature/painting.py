"""Shapes and textures of the synthetic world, as pure functions of numpy arrays.

A concept is "<colour> <shape>" (a thing: uniform, with a dark outline) or "<colour> <texture>" (stuff).
All randomness comes from the generator that is passed in, so an image is a function of its seed.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (214, 48, 44),
    "orange": (244, 140, 32),
    "yellow": (242, 220, 52),
    "green": (52, 160, 66),
    "cyan": (64, 200, 214),
    "blue": (44, 84, 206),
    "purple": (130, 56, 176),
    "pink": (244, 150, 196),
}
OUTLINE_PX = 1.6  # wide enough to survive CLIP's stride of 2 in its first convolution
NOISE = 6.0  # standard deviation of the sensor noise, in 8-bit steps


# --- shapes: (u, v) in units of the radius, v downwards -> inside or not -------------------------------------------


def _circle(u: Array, v: Array) -> Mask:
    return u * u + v * v < 0.85


def _square(u: Array, v: Array) -> Mask:
    return np.maximum(abs(u), abs(v)) < 0.78


def _triangle(u: Array, v: Array) -> Mask:
    return (v < 0.7) & (v > 2.0 * abs(u) - 1.0)


def _star(u: Array, v: Array) -> Mask:
    angle = np.arctan2(u, -v)
    phase = abs((angle / (2 * np.pi) * 5 + 0.5) % 1.0 - 0.5) * 2  # 0 at a tip, 1 between two tips
    return np.hypot(u, v) < 1.05 - 0.62 * phase


def _heart(u: Array, v: Array) -> Mask:
    x, y = u * 1.15, -v * 1.15 + 0.1
    return (x * x + y * y - 0.72) ** 3 - x * x * y**3 * 1.6 < 0


def _cross(u: Array, v: Array) -> Mask:
    inside = np.maximum(abs(u), abs(v)) < 0.95
    return inside & (np.minimum(abs(u), abs(v)) < 0.31)


def _ring(u: Array, v: Array) -> Mask:
    r = u * u + v * v
    return (r < 0.9) & (r > 0.28)


def _diamond(u: Array, v: Array) -> Mask:
    return abs(u) * 1.45 + abs(v) < 1.0


def _moon(u: Array, v: Array) -> Mask:
    return (u * u + v * v < 0.9) & ((u - 0.5) ** 2 + v * v > 0.55)


def _arrow(u: Array, v: Array) -> Mask:
    shaft = (abs(v) < 0.28) & (u > -0.95) & (u < 0.2)
    head = (u >= 0.0) & (abs(v) < 0.95 - 0.98 * u)
    return shaft | head


def _flower(u: Array, v: Array) -> Mask:
    petals = np.zeros(u.shape, dtype=bool)
    for k in range(6):
        petals |= (u - 0.6 * np.cos(k * np.pi / 3)) ** 2 + (v - 0.6 * np.sin(k * np.pi / 3)) ** 2 < 0.1
    return petals | (u * u + v * v < 0.13)


def _house(u: Array, v: Array) -> Mask:
    wall = (abs(u) < 0.6) & (v > -0.1) & (v < 0.85)
    roof = (v <= -0.1) & (v > 0.95 * abs(u) - 0.95)
    return wall | roof


SHAPES: dict[str, Callable[[Array, Array], Mask]] = {
    "circle": _circle,
    "square": _square,
    "triangle": _triangle,
    "star": _star,
    "heart": _heart,
    "cross": _cross,
    "ring": _ring,
    "diamond": _diamond,
    "moon": _moon,
    "arrow": _arrow,
    "flower": _flower,
    "house": _house,
}


# --- textures: pixel coordinates -> brightness in 0..1 --------------------------------------------------------------


def _stripes(x: Array, y: Array, rng: np.random.Generator) -> Array:
    return ((x / 3.5) % 2 < 1).astype(np.float32)


def _dots(x: Array, y: Array, rng: np.random.Generator) -> Array:
    return ((x % 7 - 3.5) ** 2 + (y % 7 - 3.5) ** 2 > 4.2).astype(np.float32)


def _checks(x: Array, y: Array, rng: np.random.Generator) -> Array:
    return ((np.floor(x / 5) + np.floor(y / 5)) % 2).astype(np.float32)


def _bricks(x: Array, y: Array, rng: np.random.Generator) -> Array:
    row = np.floor(y / 5)
    mortar = (y % 5 < 1.2) | ((x + 5 * (row % 2)) % 10 < 1.2)
    return 1.0 - mortar.astype(np.float32)


def _waves(x: Array, y: Array, rng: np.random.Generator) -> Array:
    return (((y + 2.6 * np.sin(x / 2.6)) / 3.5) % 2 < 1).astype(np.float32)


def _noise(x: Array, y: Array, rng: np.random.Generator) -> Array:
    cells = rng.random((64, 64), dtype=np.float32)
    return cells[(y / 2).astype(int) % 64, (x / 2).astype(int) % 64]


def _grid(x: Array, y: Array, rng: np.random.Generator) -> Array:
    return ((x % 6 < 1.5) | (y % 6 < 1.5)).astype(np.float32)


def _rays(x: Array, y: Array, rng: np.random.Generator) -> Array:
    cx, cy = rng.uniform(0.2, 0.8, 2) * (x.max() - x.min(), y.max() - y.min())
    return ((np.arctan2(y - y.min() - cy, x - x.min() - cx) / np.pi * 10) % 2 < 1).astype(np.float32)


TEXTURES: dict[str, Callable[[Array, Array, np.random.Generator], Array]] = {
    "stripes": _stripes,
    "dots": _dots,
    "checks": _checks,
    "bricks": _bricks,
    "waves": _waves,
    "noise": _noise,
    "grid": _grid,
    "rays": _rays,
}


# --- painting -------------------------------------------------------------------------------------------------------


def _tint(colour: str, rng: np.random.Generator) -> Array:
    """A colour with a small random deviation from its nominal value, (3,) in 0..255."""
    return (np.asarray(COLOURS[colour]) * rng.uniform(0.88, 1.08) + rng.normal(0, 7, 3)).astype(np.float32)


def paint_stuff(image: Array, region: Mask, concept: str, rng: np.random.Generator) -> None:
    """Fills ``region`` (H, W) of ``image`` (H, W, 3) with a texture, in place."""
    colour, texture = concept.split()
    height, width = region.shape
    angle, shift_x, shift_y = rng.uniform(-0.25, 0.25), *rng.uniform(0, 64, 2)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    u, v = x * np.cos(angle) - y * np.sin(angle) + shift_x + 64, x * np.sin(angle) + y * np.cos(angle) + shift_y + 64
    light = TEXTURES[texture](u.astype(np.float32), v.astype(np.float32), rng)
    full, dim = _tint(colour, rng), 0.5
    image[region] = (full * (dim + (1 - dim) * light[..., None]))[region]


def paint_thing(
    image: Array, centre: tuple[float, float], radius: float, concept: str, rng: np.random.Generator
) -> Mask:
    """Draws a thing with its outline, in place.

    Args:
        image: (H, W, 3) in 0..255.
        centre: (x, y) in pixels.
        radius: half of the shape's extent, in pixels.

    Returns:
        The mask (H, W) of the pixels that it covers, outline included.
    """
    colour, shape = concept.split()
    angle = rng.uniform(-0.35, 0.35)
    y, x = np.mgrid[0 : image.shape[0], 0 : image.shape[1]].astype(np.float32)
    x, y = x - centre[0], y - centre[1]
    u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    outer = SHAPES[shape](u / radius, v / radius)
    inner = _erode(outer)
    tint = _tint(colour, rng)
    image[outer] = tint * 0.22
    image[inner] = tint
    return outer


def _erode(mask: Mask) -> Mask:
    """``mask`` without the pixels within ``OUTLINE_PX`` of its border."""
    from scipy.ndimage import distance_transform_edt

    return np.asarray(distance_transform_edt(mask) > OUTLINE_PX)


def finish(image: Array, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Adds sensor noise and rounds to 8 bits."""
    noisy = image + rng.normal(0, NOISE, image.shape)
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)
