"""Image transforms for training and evaluation, with torchvision's v2 functions.

Both transforms take an image (3, H, W) and a map of segment indices (H, W), int, 0 = void, and return the same pair.
Collation pads at the right and bottom and records the valid size, unless the transform has padded to a canvas. All
randomness comes from torch's global generator, which the data module seeds for each image.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as F

GREY = 128
"""The value in 0..255 with which detectron2 pads training images."""
Transform = Callable[[tv_tensors.Image, tv_tensors.Mask], tuple[Tensor, Tensor]]


def as_image(pixels: NDArray[np.uint8]) -> tv_tensors.Image:
    """RGB (H, W, 3) -> (3, H, W)."""
    image: tv_tensors.Image = tv_tensors.Image(torch.from_numpy(pixels).permute(2, 0, 1).contiguous())
    return image


class TrainTransform:
    """Large-scale jittering (Ghiasi et al. 2021) and a horizontal flip; the defaults are Mask2Former's.

    Args:
        size: side of the crop in pixels: the image is resized to fit this square, times a random factor, and a random
            window of at most this square is cropped. ``None``: neither resize nor crop.
        scale: smallest and largest random factor.
        flip: probability of a horizontal flip.
        canvas: pad to the whole square at the right and bottom, with detectron2's grey and void, so that all batches
            have the same size and padding looks as in detectron2's ``FixedSizeCrop``. Set ``False`` for losses on whole
            images (image labels), because this padding counts as a part of the image.
        photometric: colour augmentation applied before padding, e.g. torchvision's ``ColorJitter``; ``None``: no
            change.

    Raises:
        ValueError: a value is out of range.
    """

    def __init__(
        self,
        *,
        size: int | None = 1024,
        scale: Sequence[float] = (0.1, 2.0),
        flip: float = 0.5,
        canvas: bool = True,
        photometric: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        low, high = (float(factor) for factor in scale)
        if size is not None and size < 1:
            raise ValueError(f"size must be at least 1 pixel, or null for the image's own size; got {size}")
        if not 0 < low <= high:
            raise ValueError(f"scale must be two factors, 0 < lowest <= highest; got ({low}, {high})")
        if not 0 <= flip <= 1:
            raise ValueError(f"flip must be a probability in 0..1; got {flip}")
        self.size, self.scale, self.flip, self.canvas = size, (low, high), flip, canvas
        self.photometric = photometric

    def __call__(self, image: tv_tensors.Image, segments: tv_tensors.Mask) -> tuple[Tensor, Tensor]:
        pair: tuple[Tensor, Tensor] = (image, segments)
        if self.size is not None:
            pair = self._crop(*self._jitter(*pair, self.size), self.size)
        if torch.rand(()).item() < self.flip:
            pair = (F.horizontal_flip(pair[0]), F.horizontal_flip(pair[1]))
        if self.photometric is not None:
            pair = (self.photometric(pair[0]), pair[1])
        return self._fill(*pair, self.size) if self.canvas and self.size is not None else pair

    def _jitter(self, image: Tensor, segments: Tensor, size: int) -> tuple[Tensor, Tensor]:
        low, high = self.scale
        factor = low + (high - low) * torch.rand(()).item()
        height, width = image.shape[-2:]
        return _resize(image, segments, factor * size / max(height, width))

    def _crop(self, image: Tensor, segments: Tensor, size: int) -> tuple[Tensor, Tensor]:
        height, width = image.shape[-2:]
        top = int(torch.randint(max(0, height - size) + 1, ()))
        left = int(torch.randint(max(0, width - size) + 1, ()))
        window = (top, left, min(size, height), min(size, width))
        return F.crop(image, *window), F.crop(segments, *window)

    def _fill(self, image: Tensor, segments: Tensor, size: int) -> tuple[Tensor, Tensor]:
        beyond = [0, 0, size - image.shape[-1], size - image.shape[-2]]
        return F.pad(image, beyond, fill=GREY), F.pad(segments, beyond, fill=0)


class EvalTransform:
    """Resizes the shortest edge to ``shortest`` pixels, or less if the longest edge would exceed ``longest``.

    Args:
        shortest: ``None`` keeps every image at its own size.
        longest: ``None``: no limit.

    Raises:
        ValueError: a value is out of range.
    """

    def __init__(self, *, shortest: int | None = 800, longest: int | None = 1333) -> None:
        if shortest is None and longest is not None:
            raise ValueError(f"longest {longest} needs shortest: give both, or null for both (native size)")
        if (shortest is not None and shortest < 1) or (longest is not None and longest < (shortest or 1)):
            raise ValueError(f"sizes must satisfy 1 <= shortest <= longest pixels; got {shortest} and {longest}")
        self.shortest, self.longest = shortest, longest

    def __call__(self, image: tv_tensors.Image, segments: tv_tensors.Mask) -> tuple[Tensor, Tensor]:
        if self.shortest is None:
            return image, segments
        return _resize(image, segments, self._factor(*image.shape[-2:]))

    def size(self, height: int, width: int) -> tuple[int, int]:
        """The (height, width) in pixels to which an image of ``height`` x ``width`` is resized."""
        return (height, width) if self.shortest is None else _scaled(height, width, self._factor(height, width))

    def _factor(self, height: int, width: int) -> float:
        assert self.shortest is not None
        factor = self.shortest / min(height, width)
        return factor if self.longest is None else min(factor, self.longest / max(height, width))


def _resize(image: Tensor, segments: Tensor, factor: float) -> tuple[Tensor, Tensor]:
    """Scales both by ``factor`` (image: bilinear with antialias, indices: nearest), to at least one pixel per side."""
    height, width = image.shape[-2:]
    size = list(_scaled(height, width, factor))
    # As a plain tensor: for masks torchvision uses NEAREST, which is half a pixel off the image.
    plane = F.resize(segments.as_subclass(Tensor)[None], size, interpolation=InterpolationMode.NEAREST_EXACT)[0]
    return F.resize(image, size), tv_tensors.Mask(plane)


def _scaled(height: int, width: int, factor: float) -> tuple[int, int]:
    return max(1, math.floor(height * factor + 0.5)), max(1, math.floor(width * factor + 0.5))
