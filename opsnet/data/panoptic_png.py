"""COCO's PNG of segment ids: a pixel's id is R + 256 G + 65536 B, and 0 is void.

Palette PNGs are read by the colours they show, and an alpha channel is ignored. Greyscale, including 16-bit, is
refused: panopticapi cannot read it either (``rgb2id`` expects three channels), and a single byte would decode to
another id.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from opsnet.data.images import TOO_LARGE, require_decodable
from opsnet.utils.errors import DatasetError
from opsnet.utils.files import atomic_path

MAX_ID = 256**3  # ids from here on do not fit into three bytes
_COLOUR_MODES = ("RGB", "RGBA", "P")


class PngModeError(DatasetError):
    """A PNG whose pixels are not RGB colours."""


def read_ids(path: Path) -> NDArray[np.int32]:
    """Reads the segment ids (H, W) of a PNG.

    Raises:
        PngModeError: the PNG is greyscale, or of another mode without three colour channels.
        DatasetError: the PNG is missing or cannot be decoded.
    """
    try:
        with Image.open(path) as image:
            require_decodable(image)
            if image.mode in _COLOUR_MODES:
                return decode_ids(image)
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
    pixels = np.asarray(image if image.mode == "RGBA" else image.convert("RGBA"))
    # RGBA bytes are one little-endian integer with alpha on top: a view instead of three multiplications.
    ids: NDArray[np.int32] = pixels.view("<i4")[..., 0] & np.int32(MAX_ID - 1)
    return ids


def write_ids(path: Path, ids: NDArray[Any]) -> None:
    """Writes segment ids (H, W) as an RGB PNG, atomically.

    Raises:
        ValueError: an id that three bytes cannot hold.
    """
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
