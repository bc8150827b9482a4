"""Image files: existence checks, and decoding of any format to upright RGB."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from opsnet.data.pixel_limit import MAX_PIXELS, TOO_LARGE
from opsnet.utils.errors import DatasetError

CheckSize = Callable[[tuple[int, int]], None]
SIDEWAYS = 5  # EXIF orientations from 5 on swap width and height


def require_files(folder: Path, names: Sequence[str], source: Path, key: str) -> None:
    """Checks that all files exist, with one listing per folder: one stat per file takes minutes on network disks.

    Raises:
        DatasetError: a file is missing; the message names it, the ``source`` that lists it, and the ``key`` to check.
    """
    if not folder.is_dir():
        raise DatasetError(f"folder {folder} does not exist: check `{key}`")
    parents = {os.path.dirname(name) for name in names}
    listed = {p: set(os.listdir(folder / p)) if (folder / p).is_dir() else set() for p in parents}
    missing = [name for name in names if os.path.basename(name) not in listed[os.path.dirname(name)]]
    if missing:
        raise DatasetError(
            f"{missing[0]}, named in {source}, is not in {folder} ({len(missing)} of {len(names)} files are missing): "
            f"check `{key}`, or complete the folder"
        )


def require_decodable(image: Image.Image) -> None:
    """Refuses an opened image that takes gigabytes to decode.

    Raises:
        DatasetError: it has more than :data:`MAX_PIXELS`; the message continues after its path.
    """
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise DatasetError(TOO_LARGE)


def require_limit(limit: int | None) -> None:
    """Checks a set's ``limit``: a number of images, or ``None`` for all.

    Raises:
        DatasetError: the limit is below 1.
    """
    if limit is not None and limit < 1:
        raise DatasetError(f"limit must be at least 1 or null for all images, got {limit}: change `limit`")


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Width and height in pixels after applying the EXIF orientation; the image is not decoded."""
    width, height = image.size
    return (height, width) if image.getexif().get(ExifTags.Base.Orientation, 1) >= SIDEWAYS else (width, height)


def read_image(path: Path, check_size: CheckSize | None = None) -> Image.Image:
    """Opens and decodes an image file, and closes it again.

    Args:
        path: the file.
        check_size: called with width and height before a large image is decoded for nothing.

    Raises:
        DatasetError: the file cannot be read, or raised by ``check_size``.
    """
    try:
        image: Image.Image
        with Image.open(path) as image:
            if check_size is not None:
                check_size(upright_size(image))
            _load(image, str(path))
            return image
    except DatasetError:
        raise
    except Exception as error:  # Pillow's readers raise whatever their parsing stumbles over, SyntaxError included
        raise _unreadable(path, error) from error


def _load(image: Image.Image, name: str) -> None:
    try:
        require_decodable(image)
    except DatasetError as error:
        raise DatasetError(f"{name} {error}") from None
    image.load()


def read_rgb(path: Path, check_size: CheckSize | None = None) -> NDArray[np.uint8]:
    """Reads an image file as upright RGB (H, W, 3); ``check_size`` as in :func:`read_image`.

    Raises:
        DatasetError: the file cannot be read.
    """
    try:
        return to_rgb(read_image(path, check_size))
    except DatasetError:
        raise
    except Exception as error:  # for example a damaged orientation tag
        raise _unreadable(path, error) from error


def decode_rgb(content: bytes, name: str, formats: tuple[str, ...] | None = None) -> NDArray[np.uint8]:
    """The bytes of an image file as upright RGB (H, W, 3); others as for :func:`decode_image`.

    Raises:
        DatasetError: they are not an image.
    """
    try:
        return to_rgb(decode_image(content, name, formats))
    except DatasetError:
        raise
    except Exception as error:  # as in read_rgb
        raise _unreadable(name, error) from error


def decode_image(content: bytes, name: str, formats: tuple[str, ...] | None = None) -> Image.Image:
    """Decodes the bytes of an image file.

    Args:
        content: the bytes.
        name: stands for a path in messages.
        formats: Pillow's names of those that are read; ``None``: all.

    Raises:
        DatasetError: they are not an image.
    """
    try:
        image: Image.Image
        with Image.open(io.BytesIO(content), formats=formats) as image:
            _load(image, name)
            return image
    except DatasetError:
        raise
    except Exception as error:  # as in read_image
        raise _unreadable(name, error) from error


def _unreadable(name: str | Path, error: Exception) -> DatasetError:
    """The error about an image."""
    if isinstance(error, Image.DecompressionBombError):
        return DatasetError(f"{name} {TOO_LARGE}")
    bytes_only = isinstance(error, UnidentifiedImageError) and not isinstance(name, Path)
    cause = "its format is unknown" if bytes_only else str(error) or type(error).__name__  # not an object in memory
    return DatasetError(f"{name} cannot be read as an image ({cause}): replace the file")


def to_rgb(image: Image.Image) -> NDArray[np.uint8]:
    """Converts an image to upright RGB (H, W, 3).

    Cameras store rotation as a tag, while annotations are drawn on the upright image. 16-bit greyscale is rescaled
    (Pillow would clip it at 255), and transparent pixels become white instead of showing the colour stored below them.

    Raises:
        ValueError: the pixels are floating-point numbers, whose range is unknown.
    """
    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers of unknown range: convert it to 8 bits")
    upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith("I"):
        upright = Image.fromarray((np.asarray(upright).clip(0, 65_535) // 257).astype(np.uint8))
    if upright.mode == "La":  # Pillow converts it to LA only
        upright = upright.convert("LA")
    if upright.has_transparency_data:
        see_through = upright.convert("RGBA")
        upright = Image.alpha_composite(Image.new("RGBA", see_through.size, "white"), see_through)
    return np.array(upright.convert("RGB"))
