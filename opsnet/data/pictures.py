"""Picture files: whether they are there, and any kind of them as RGB, the way that a person sees them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from opsnet.errors import DatasetError


def require_files(folder: Path, names: Sequence[str], source: Path, key: str) -> None:
    """All files exist. One listing a folder: a stat a file takes minutes on network disks.

    Raises:
        DatasetError: one is missing; the message names it, ``source``, which names it, and the ``key`` to check.
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


def read_picture(path: Path) -> Image.Image:
    """A decoded picture; its file is closed again.

    Raises:
        DatasetError: it cannot be read.
    """
    try:
        picture: Image.Image
        with Image.open(path) as picture:
            picture.load()
            return picture
    except OSError as error:
        raise DatasetError(f"{path} cannot be read as a picture ({error}): replace the file") from error


def read_rgb(path: Path) -> NDArray[np.uint8]:
    """A picture file as (H, W, 3), upright.

    Raises:
        DatasetError: it cannot be read.
    """
    return to_rgb(read_picture(path))


def to_rgb(picture: Image.Image) -> NDArray[np.uint8]:
    """A picture as (H, W, 3), upright.

    Cameras store rotation as a tag, while annotations are drawn on the upright picture. Grey of 16 bits is scaled,
    where Pillow would cut it off at 255; what is transparent shows white, and not the colour that lies below.
    """
    upright = ImageOps.exif_transpose(picture)
    if upright.mode.startswith("I"):
        upright = Image.fromarray((np.asarray(upright).clip(0, 65_535) // 257).astype(np.uint8))
    if upright.has_transparency_data:
        see_through = upright.convert("RGBA")
        upright = Image.alpha_composite(Image.new("RGBA", see_through.size, "white"), see_through)
    return np.array(upright.convert("RGB"))
