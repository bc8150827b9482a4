"""Converts images in any form into the batch that the network receives."""

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

ImageLike: TypeAlias = Any
"""A path, a PIL image, an array (H, W, 3) or (H, W) uint8, or a tensor (3, H, W), uint8 or floats in 0..1."""


def as_list(images: ImageLike | Sequence[ImageLike]) -> tuple[list[ImageLike], bool]:
    """The images as a list, and whether there was a single one. A 4-dimensional tensor or array is several images."""
    if isinstance(images, (Tensor, np.ndarray)):
        return (list(images), False) if images.ndim == 4 else ([images], True)
    if isinstance(images, (list, tuple)):
        return list(images), False
    return [images], True


def to_pixels(image: ImageLike) -> NDArray[np.uint8]:
    """One image as (H, W, 3) uint8 RGB, rotated upright.

    Raises:
        InputError: the file does not exist or is not an image, or the array has an unsupported shape or dtype.
    """
    from PIL import Image

    if isinstance(image, (str, PathLike)):
        path = Path(image).expanduser()
        if not path.is_file():
            raise InputError(f"image {path} does not exist: give image=PATH of an image")
        return read_rgb(path)
    if isinstance(image, Image.Image):
        return to_rgb(image)
    if isinstance(image, Tensor):
        return _from_tensor(image)
    if isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.ndim in (2, 3):
        return to_rgb(Image.fromarray(_checked(image)))
    kind = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
    raise InputError(
        f"an image must be a path, a PIL image, an array (H, W, 3) uint8 or a tensor (3, H, W), got {kind}"
    )


def _checked(array: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if 0 in array.shape or (array.ndim == 3 and array.shape[2] not in (3, 4)):
        raise InputError(f"an image array must be (H, W, 3) and not empty, got {array.shape}")
    return array


def _from_tensor(image: Tensor) -> NDArray[np.uint8]:
    if image.ndim != 3 or image.shape[0] != 3 or 0 in image.shape:
        raise InputError(f"an image tensor must be (3, H, W), got {tuple(image.shape)}")
    if image.is_floating_point():
        image = (image * 255).round().clamp(0, 255)
    elif image.dtype != torch.uint8:
        raise InputError(f"an image tensor must be uint8 or floats in 0..1, got {image.dtype}")
    pixels: NDArray[np.uint8] = image.byte().permute(1, 2, 0).cpu().numpy()
    return pixels


@dataclass(frozen=True)
class NetworkSize:
    """The size to which images are resized, as in evaluation with the same ``shortest`` and ``longest``.

    Attributes:
        shortest: pixels of the shorter edge, unless the longer would exceed ``longest``; ``None``: images are only made
            smaller.
        longest: maximum pixels of the longer edge; ``None``: no limit.
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
    arrays: Sequence[NDArray[np.uint8]], *, size: NetworkSize = NetworkSize(longest=None), vocabulary: str = ""
) -> Batch:
    """Images (H, W, 3) as one batch, padded with zeros at the right and bottom.

    Args:
        arrays: images of any sizes.
        size: the size to which they are resized.
        vocabulary: name of the batch's vocabulary.
    """
    sizes = [size.of(p.shape[0], p.shape[1]) for p in arrays]
    height, width = (max(sides) for sides in zip(*(padded_size(*size) for size in sizes), strict=True))
    images = torch.zeros(len(arrays), 3, height, width)
    for image, array, (h, w) in zip(images, arrays, sizes, strict=True):
        # Copied, because PyTorch warns about read-only arrays. Resized as integers, as in evaluation.
        pixels: Tensor = as_image(array.copy())
        if pixels.shape[-2:] != (h, w):
            pixels = resize(pixels, [h, w])
        image[:, :h, :w] = pixels / 255
    return Batch(
        images=images,
        valid_sizes=sizes,
        image_ids=list(range(len(arrays))),
        vocabulary=vocabulary,
        original_sizes=[(p.shape[0], p.shape[1]) for p in arrays],
    )
