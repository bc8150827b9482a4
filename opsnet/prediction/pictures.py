"""Pictures in any form -> the batch that the network sees."""

from __future__ import annotations

import math
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from opsnet.data.pictures import read_rgb, to_rgb
from opsnet.errors import InputError
from opsnet.structures import SIZE_DIVISOR, Batch

Picture: TypeAlias = Any
"""A path, a PIL image, an array (H, W, 3) or (H, W) uint8, or a tensor (3, H, W), uint8 or floats in 0..1."""


def as_list(pictures: Picture | Sequence[Picture]) -> tuple[list[Picture], bool]:
    """Pictures as a list, and whether it was a single one. A tensor or array of four dimensions is several."""
    if isinstance(pictures, (Tensor, np.ndarray)):
        return (list(pictures), False) if pictures.ndim == 4 else ([pictures], True)
    if isinstance(pictures, (list, tuple)):
        return list(pictures), False
    return [pictures], True


def to_pixels(picture: Picture) -> NDArray[np.uint8]:
    """One picture as (H, W, 3) uint8 RGB, upright.

    Raises:
        InputError: no such file, not a picture, or an array of another kind.
    """
    from PIL import Image

    if isinstance(picture, (str, PathLike)):
        path = Path(picture).expanduser()
        if not path.is_file():
            raise InputError(f"image {path} does not exist: give image=PATH of a picture")
        return read_rgb(path)
    if isinstance(picture, Image.Image):
        return to_rgb(picture)
    if isinstance(picture, Tensor):
        return _of_tensor(picture)
    if isinstance(picture, np.ndarray) and picture.dtype == np.uint8 and picture.ndim in (2, 3):
        return to_rgb(Image.fromarray(_checked(picture)))
    kind = f"{picture.dtype} {picture.shape}" if isinstance(picture, np.ndarray) else type(picture).__name__
    raise InputError(
        f"a picture must be a path, a PIL image, an array (H, W, 3) uint8 or a tensor (3, H, W), got {kind}"
    )


def _checked(array: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if 0 in array.shape or (array.ndim == 3 and array.shape[2] not in (3, 4)):
        raise InputError(f"a picture as an array must be (H, W, 3) and hold a pixel, got {array.shape}")
    return array


def _of_tensor(picture: Tensor) -> NDArray[np.uint8]:
    if picture.ndim != 3 or picture.shape[0] != 3 or 0 in picture.shape:
        raise InputError(f"a picture as a tensor must be (3, H, W), got {tuple(picture.shape)}")
    if picture.is_floating_point():
        picture = (picture * 255).round().clamp(0, 255)
    elif picture.dtype != torch.uint8:
        raise InputError(f"a picture as a tensor must be uint8 or floats in 0..1, got {picture.dtype}")
    pixels: NDArray[np.uint8] = picture.byte().permute(1, 2, 0).cpu().numpy()
    return pixels


def network_size(height: int, width: int, longest: int | None) -> tuple[int, int]:
    """(height, width) at which the network sees a picture: its own, or less where an edge exceeds ``longest``."""
    if longest is None or max(height, width) <= longest:
        return height, width
    factor = longest / max(height, width)
    return max(1, round(height * factor)), max(1, round(width * factor))


def padded_size(height: int, width: int) -> tuple[int, int]:
    """The next multiples of the network's coarsest stride."""
    return math.ceil(height / SIZE_DIVISOR) * SIZE_DIVISOR, math.ceil(width / SIZE_DIVISOR) * SIZE_DIVISOR


def to_batch(pictures: Sequence[NDArray[np.uint8]], *, longest: int | None = None, vocabulary: str = "") -> Batch:
    """Pictures (H, W, 3) as one batch, padded with zeros at the right and bottom.

    Args:
        pictures: of any sizes.
        longest: pictures with a longer edge (pixels) are made smaller first.
        vocabulary: the batch's.
    """
    sizes = [network_size(p.shape[0], p.shape[1], longest) for p in pictures]
    height, width = (max(sides) for sides in zip(*(padded_size(*size) for size in sizes), strict=True))
    images = torch.zeros(len(pictures), 3, height, width)
    for image, picture, (h, w) in zip(images, pictures, sizes, strict=True):
        # A copy: PyTorch warns of arrays that cannot be written.
        pixels = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None] / 255
        if pixels.shape[-2:] != (h, w):
            pixels = F.interpolate(pixels, size=(h, w), mode="bilinear", antialias=True).clamp_(0, 1)
        image[:, :h, :w] = pixels[0]
    return Batch(
        images=images,
        valid_sizes=sizes,
        image_ids=list(range(len(pictures))),
        vocabulary=vocabulary,
        original_sizes=[(p.shape[0], p.shape[1]) for p in pictures],
    )
