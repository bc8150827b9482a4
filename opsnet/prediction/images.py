"""Converts images in any form into the batch that the network receives."""

from __future__ import annotations

import math
import os
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

from opsnet.data.images import decode_rgb, read_rgb, to_rgb
from opsnet.data.transforms import EvalTransform, as_image
from opsnet.inference.config import InferenceConfig
from opsnet.prediction.web_images import download, is_url
from opsnet.structures import SIZE_DIVISOR, Batch
from opsnet.utils.errors import InputError

ImageLike: TypeAlias = Any
"""One image: a path, an address (http, https), the bytes of an image file, a PIL image, an array (H, W, 3), (H, W, 4)
or (H, W), or a tensor (3, H, W), (4, H, W) or (1, H, W). Arrays and tensors are RGB, uint8 or floats in 0..1."""

CHANNELS = (1, 3, 4)
_FORMS = (
    "a path, an address, bytes, a PIL image, an array (H, W, 3) uint8 or a tensor (3, H, W) uint8, or floats in 0..1"
)


@dataclass(frozen=True)
class SourceImage:
    """An image that was read.

    Attributes:
        file_name: its name, without folders.
        pixels: (H, W, 3) uint8 RGB, upright.
        path: its file; of an address and of Pillow's images the name alone; ``None`` for other images in memory and for
            frames of a video.
        number: its place in its source, from 0.
        resized: (3, h, w) uint8, the pixels at the network's size, if a reader has resized them.
    """

    file_name: str
    pixels: NDArray[np.uint8]
    path: Path | None = None
    number: int = 0
    resized: Tensor | None = None


def to_pixels(image: ImageLike) -> NDArray[np.uint8]:
    """One image as (H, W, 3) uint8 RGB, rotated upright.

    Raises:
        InputError: it does not exist, cannot be downloaded or is not an image, or an array has an unsupported shape,
            dtype or range.
    """
    from PIL import Image

    if isinstance(image, SourceImage):
        return image.pixels
    if isinstance(image, (str, PathLike)):
        return _from_text(os.fspath(image))
    if isinstance(image, (bytes, bytearray, memoryview)):
        return decode_rgb(bytes(image), f"image of {len(image)} bytes")
    if isinstance(image, Image.Image):
        try:
            return to_rgb(image)
        except (OSError, ValueError, SyntaxError) as error:  # its file is decoded only now, and may be damaged
            raise InputError(f"the PIL image of mode {image.mode} cannot be used ({error})") from error
    if isinstance(image, Tensor):
        return _from_tensor(image)
    if isinstance(image, np.ndarray):
        return _from_array(image)
    raise InputError(f"an image must be {_FORMS}, got {type(image).__name__}")


def _from_text(text: str) -> NDArray[np.uint8]:
    if is_url(text):
        return decode_rgb(download(text), f"image {text}")
    path = Path(os.path.expanduser(text))
    if os.path.isdir(path):
        raise InputError(f"image {path} is a folder: give it alone, or list its images")
    if not os.path.isfile(path):  # False for text that no file can be named, where pathlib raises
        raise InputError(f"image {path} does not exist: give image=PATH of an image")
    return read_rgb(path)


def _from_array(array: NDArray[Any]) -> NDArray[np.uint8]:
    from PIL import Image

    if array.ndim not in (2, 3) or 0 in array.shape or array.shape[2:] not in ((), (1,), (3,), (4,)):
        is_tensor_like = array.ndim == 3 and array.shape[0] in CHANNELS
        hint = ": call .transpose(1, 2, 0)" if is_tensor_like else ""
        raise InputError(
            f"an image array must be (H, W, 3), (H, W, 4) or (H, W) and not empty, got {array.shape}{hint}"
        )
    pixels = _to_bytes(array[..., 0] if array.shape[2:] == (1,) else array)
    return to_rgb(Image.fromarray(np.ascontiguousarray(pixels)))


def _from_tensor(image: Tensor) -> NDArray[np.uint8]:
    if image.ndim != 3 or image.shape[0] not in CHANNELS or 0 in image.shape:
        hint = ": call .permute(2, 0, 1)" if image.ndim == 3 and image.shape[-1] in CHANNELS else ""
        raise InputError(f"an image tensor must be (3, H, W), got {tuple(image.shape)}{hint}")
    whole = image.detach().float() if image.is_floating_point() else image
    return _from_array(whole.permute(1, 2, 0).cpu().numpy())


def _to_bytes(values: NDArray[Any]) -> NDArray[np.uint8]:
    """uint8 as it is, floats in 0..1 times 255; all else is refused, since a wrong range would be read as black."""
    if values.dtype == np.uint8:
        return values
    if not np.issubdtype(values.dtype, np.floating):
        raise InputError(f"an image must be uint8 or floats in 0..1, got {values.dtype}")
    low, high = float(values.min()), float(values.max())
    if math.isnan(low):
        raise InputError("an image of floats must lie in 0..1, and this one has NaN: remove it")
    if low < 0 or high > 1:
        raise InputError(
            f"an image of floats must lie in 0..1, got {low:g} to {high:g}: scale it, or convert it to uint8 in 0..255"
        )
    return np.rint(values * 255).astype(np.uint8)


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


AUTO = "auto"
Pixels: TypeAlias = int | str | None
"""Length of an edge: a number, ``None`` for no limit, or ``"auto"``."""


def network_size(inference: InferenceConfig, shortest: Pixels, longest: Pixels) -> NetworkSize:
    """The given size; "auto" edges are those of the network's evaluation.

    Raises:
        InputError: an edge is invalid.
    """
    for key, value in (("shortest", shortest), ("longest", longest)):
        if value != AUTO and value is not None and not (isinstance(value, int) and value >= 1):
            raise InputError(f"{key} must be at least 1 pixel, null for no limit, or {AUTO}, got {value}")
    return NetworkSize(
        inference.shortest if shortest == AUTO else shortest,  # type: ignore[arg-type]
        inference.longest if longest == AUTO else longest,  # type: ignore[arg-type]
    )


def padded_size(height: int, width: int) -> tuple[int, int]:
    """The next multiples of the network's coarsest stride."""
    return math.ceil(height / SIZE_DIVISOR) * SIZE_DIVISOR, math.ceil(width / SIZE_DIVISOR) * SIZE_DIVISOR


def resized(pixels: NDArray[np.uint8], size: NetworkSize) -> Tensor:
    """An image (H, W, 3) as (3, h, w) uint8 at the network's size; resized as integers, as in evaluation."""
    height, width = size.of(pixels.shape[0], pixels.shape[1])
    image: Tensor = as_image(pixels.copy())  # copied, because PyTorch warns about read-only arrays
    return image if image.shape[-2:] == (height, width) else resize(image, [height, width])


def to_batch(
    arrays: Sequence[NDArray[np.uint8]], *, size: NetworkSize = NetworkSize(longest=None), vocabulary: str = "",
    ready: Sequence[Tensor | None] = (),
) -> Batch:  # fmt: skip
    """Images (H, W, 3) as one batch, padded with zeros at the right and bottom.

    Args:
        arrays: images of any sizes.
        size: the size to which they are resized.
        vocabulary: name of the batch's vocabulary.
        ready: those that :func:`resized` has resized to ``size`` already.
    """
    sizes = [size.of(p.shape[0], p.shape[1]) for p in arrays]
    height, width = (max(sides) for sides in zip(*(padded_size(*size) for size in sizes), strict=True))
    images = torch.zeros(len(arrays), 3, height, width)
    for image, array, (h, w), done in zip(images, arrays, sizes, ready or [None] * len(arrays), strict=True):
        image[:, :h, :w] = (resized(array, size) if done is None else done) / 255
    return Batch(
        images=images,
        valid_sizes=sizes,
        image_ids=list(range(len(arrays))),
        vocabulary=vocabulary,
        original_sizes=[(p.shape[0], p.shape[1]) for p in arrays],
    )
