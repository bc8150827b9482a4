"""Pictures in any form -> the batch that the network sees."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms.v2.functional import resize

from opsnet.data.images import read_rgb, to_rgb
from opsnet.data.transforms import EvalTransform, as_image
from opsnet.structures import SIZE_DIVISOR, Batch
from opsnet.utils.errors import InputError

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


@dataclass(frozen=True)
class NetworkSize:
    """The size at which the network sees an image; that of evaluation for the same ``shortest`` and ``longest``.

    Attributes:
        shortest: pixels of the shortest edge, as far as the longest allows; ``None``: images are made smaller only.
        longest: pixels of the longest edge at most; ``None`` sets no bound.
    """

    shortest: int | None = None
    longest: int | None = 1333

    def of(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) in pixels for an image of ``height`` x ``width``."""
        longest = math.inf if self.longest is None else self.longest
        edge = min(height, width) if self.shortest is None else self.shortest
        if self.shortest is None and max(height, width) <= longest:
            return height, width
        return EvalTransform(shortest=min(edge, self.longest or edge), longest=self.longest).size(height, width)


def padded_size(height: int, width: int) -> tuple[int, int]:
    """The next multiples of the network's coarsest stride."""
    return math.ceil(height / SIZE_DIVISOR) * SIZE_DIVISOR, math.ceil(width / SIZE_DIVISOR) * SIZE_DIVISOR


def to_batch(
    pictures: Sequence[NDArray[np.uint8]], *, size: NetworkSize = NetworkSize(longest=None), vocabulary: str = ""
) -> Batch:
    """Pictures (H, W, 3) as one batch, padded with zeros at the right and bottom.

    Args:
        pictures: of any sizes.
        size: at which the network sees them.
        vocabulary: the batch's.
    """
    sizes = [size.of(p.shape[0], p.shape[1]) for p in pictures]
    height, width = (max(sides) for sides in zip(*(padded_size(*size) for size in sizes), strict=True))
    images = torch.zeros(len(pictures), 3, height, width)
    for image, picture, (h, w) in zip(images, pictures, sizes, strict=True):
        # A copy: PyTorch warns of arrays that cannot be written. Resized as integers, as evaluation does.
        pixels: Tensor = as_image(picture.copy())
        if pixels.shape[-2:] != (h, w):
            pixels = resize(pixels, [h, w])
        image[:, :h, :w] = pixels / 255
    return Batch(
        images=images,
        valid_sizes=sizes,
        image_ids=list(range(len(pictures))),
        vocabulary=vocabulary,
        original_sizes=[(p.shape[0], p.shape[1]) for p in pictures],
    )
