"""COCO's PNG of segment ids: a pixel's id is R + 256 G + 65536 B, and 0 is void.

Palette PNGs are read by the colours they show, and an alpha channel is ignored. Greyscale, including 16-bit, is
refused: panopticapi cannot read it either (``rgb2id`` expects three channels), and a single byte would decode to
another id.

Plain RGB files, which COCO's are, are decoded by kornia-rs (Rust's ``png``), which is several times as fast as Pillow;
other and damaged files are left to Pillow.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL import Image  # imported where it is used: it takes as long as scoring 20 images

try:
    from kornia_rs.io import decode_image_png_u8
except ImportError:  # no wheel for this platform: Pillow reads every file
    decode_image_png_u8 = None

from opsnet.data.pixel_limit import MAX_PIXELS, TOO_LARGE
from opsnet.utils.errors import DatasetError

MAX_ID = 256**3  # ids from here on do not fit into three bytes
_COLOUR_MODES = ("RGB", "RGBA", "P")

_HEADER = struct.Struct(">16sII5s")  # signature and IHDR: width, height, and how pixels are stored
_START = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
_PLAIN_RGB = bytes((8, 2, 0, 0, 0))  # 8 bits, RGB, deflate, the standard filters, not interlaced
_TEXT_BYTES = 2**20  # a file may be this much longer than its pixels, with texts and colour profiles


class PngModeError(DatasetError):
    """A PNG whose pixels are not RGB colours."""


def read_ids(path: Path) -> NDArray[np.int32]:
    """Reads the segment ids (H, W) of a PNG.

    Raises:
        PngModeError: the PNG is greyscale, or of another mode without three colour channels.
        DatasetError: the PNG is missing or cannot be decoded.
    """
    return rgb_to_ids(read_colours(path))


def read_colours(path: Path) -> NDArray[np.uint8]:
    """Reads the colours (H, W, 3) that stand for the segment ids of a PNG, see :func:`rgb_to_ids`.

    Raises:
        PngModeError, DatasetError: as in :func:`read_ids`.
    """
    pixels = _read_plain_rgb(path)
    return _read_with_pillow(path) if pixels is None else pixels


def _read_plain_rgb(path: Path) -> NDArray[np.uint8] | None:
    """Pixels (H, W, 3) of an 8-bit RGB PNG; ``None`` if it is another file or damaged, so that Pillow has to judge."""
    if decode_image_png_u8 is None:
        return None
    try:
        with open(path, "rb", buffering=0) as file:  # a buffer would cost a tenth of the decoding
            head = file.read(_HEADER.size)
            start, width, height, storage = _HEADER.unpack(head)
            length = os.fstat(file.fileno()).st_size
            if (start, storage) != (_START, _PLAIN_RGB) or not 0 < width * height <= MAX_PIXELS:
                return None
            if length > 4 * width * height + _TEXT_BYTES:
                return None
            pixels: NDArray[np.uint8] = decode_image_png_u8(head + file.read(), (height, width), "rgb")
    except Exception:  # kornia-rs raises nothing more specific
        return None
    return pixels


def _read_with_pillow(path: Path) -> NDArray[np.uint8]:
    """:func:`read_colours` of any file."""
    from PIL import Image

    from opsnet.data.images import require_decodable

    try:
        with Image.open(path) as image:
            require_decodable(image)
            if image.mode in _COLOUR_MODES:
                return _colours(image)
            mode = image.mode
    except DatasetError as error:
        raise DatasetError(f"{path} {error}") from None
    except Image.DecompressionBombError as error:
        raise DatasetError(f"{path} {TOO_LARGE}") from error
    except FileNotFoundError as error:
        raise DatasetError(f"{path} does not exist: check file_name in the json and the folder of the PNGs") from error
    except Exception as error:  # Pillow's readers raise whatever their parsing stumbles over, SyntaxError included
        raise DatasetError(
            f"{path} cannot be read as an image ({type(error).__name__}: {error}): replace the file"
        ) from error
    raise PngModeError(f"{path} has mode {mode}: save segment ids as an RGB PNG, id = R + 256 G + 65536 B")


def decode_ids(image: Image.Image) -> NDArray[np.int32]:
    """Segment ids (H, W) of an RGB, RGBA or palette image."""
    return rgb_to_ids(_colours(image))


def _colours(image: Image.Image) -> NDArray[np.uint8]:
    pixels = np.asarray(image if image.mode in ("RGB", "RGBA") else image.convert("RGBA"))
    return pixels[..., :3]


def rgb_to_ids(pixels: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Colours (H, W, 3) -> segment ids (H, W)."""
    # Four bytes at each pixel are one little-endian integer with a byte of the next pixel on top: cheaper than three
    # multiplications. The last pixel has no next one.
    flat = np.ascontiguousarray(pixels).reshape(-1)
    ids = np.empty(pixels.shape[:2], np.int32)
    if ids.size:
        overlapping = np.ndarray(ids.size - 1, "<i4", flat, strides=(3,))
        np.bitwise_and(overlapping, np.int32(MAX_ID - 1), out=ids.reshape(-1)[:-1])
        ids.flat[-1] = int.from_bytes(flat[-3:].tobytes(), "little")
    return ids


def write_ids(path: Path, ids: NDArray[Any]) -> None:
    """Writes segment ids (H, W) as an RGB PNG, atomically.

    Raises:
        ValueError: an id that three bytes cannot hold.
    """
    from PIL import Image

    from opsnet.utils.files import atomic_path

    pixels = ids_to_rgb(ids)
    with atomic_path(path) as temporary:
        Image.fromarray(pixels).save(temporary, format="PNG")


def ids_to_rgb(ids: NDArray[Any]) -> NDArray[np.uint8]:
    """Segment ids (H, W) -> colours (H, W, 3).

    Raises:
        ValueError: an id that three bytes cannot hold.
    """
    if ids.size and not 0 <= ids.min() <= ids.max() < MAX_ID:
        raise ValueError(f"segment ids must lie in 0..{MAX_ID - 1}, got {ids.min()} to {ids.max()}")
    return np.stack([ids % 256, ids // 256 % 256, ids // 65536], axis=-1).astype(np.uint8)
