"""The images of visitors: uploaded files, and the network's outputs for them, which are kept for new names."""

from __future__ import annotations

import dataclasses
import time
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opsnet.data.images import to_rgb
from opsnet.inference.network_output import NetworkOutput
from opsnet.utils.errors import InputError
from opsnet.web_demo.downloads import IDLE

LARGEST = 25_000_000  # pixels per image; all visitors share the server's memory
MOST_BYTES = 2 << 30  # of the stored images and outputs of all visitors together; an image of 25 MP takes 185 MB
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF")  # other readers of Pillow start programs or trust tile sizes
Key = tuple[str, str]
"""Name of the model and path of the image; gradio puts a hash of the content into the path."""


@dataclass(frozen=True)
class ProcessedImage:
    """An image for which the network has run: the uploaded file, its pixels, and the network's output."""

    path: str
    pixels: NDArray[np.uint8]
    output: NetworkOutput

    @property
    def nbytes(self) -> int:
        """Size in memory."""
        proposals = self.output.proposals
        tensors = [getattr(proposals, field.name) for field in dataclasses.fields(proposals)]
        sizes = (t.untyped_storage().nbytes() for t in (*tensors, *self.output.clip.values()) if hasattr(t, "nbytes"))
        return self.pixels.nbytes + sum(sizes)


class ProcessedImages:
    """The images that were processed last, so that new names and settings need no further pass of the network.

    All visitors share one limit: the images that were used least recently make room for new ones, and an image whose
    output is gone is processed again.

    Args:
        limit: bytes of all images together.
        idle: seconds without use after which an image is dropped.
    """

    def __init__(self, limit: int = MOST_BYTES, idle: float = IDLE) -> None:
        self._limit, self._idle = limit, idle
        self._images: OrderedDict[Key, tuple[float, ProcessedImage]] = OrderedDict()
        self._lock = Lock()

    @property
    def nbytes(self) -> int:
        """Size in memory of all images."""
        return sum(image.nbytes for _, image in self._images.values())

    def get(self, key: Key) -> ProcessedImage | None:
        """The image of a key, if its output is stored."""
        with self._lock:
            self._drop()
            _, image = self._images.get(key, (0.0, None))
            return image

    def put(self, key: Key, image: ProcessedImage) -> None:
        """Stores an image, or marks it as used."""
        with self._lock:
            self._images[key] = (time.monotonic(), image)
            self._images.move_to_end(key)
            self._drop()

    def _drop(self) -> None:
        oldest = time.monotonic() - self._idle
        while self._images and (next(iter(self._images.values()))[0] < oldest or self.nbytes > self._limit):
            self._images.popitem(last=False)


def checked_upload(path: str | None, folder: Path) -> str | None:
    """The path of an upload, if it is one: a visitor can send the page any path of this machine.

    Args:
        path: as the browser sent it; ``None``: no image.
        folder: the page's upload folder.

    Raises:
        InputError: it is not a regular file below the folder.
    """
    if not path:
        return None
    if not is_below(path, folder) or not _is_file(path):
        raise InputError("the image is not on the server (any more): upload it again, or choose an example")
    return str(Path(path).resolve())


def is_below(path: Any, folder: Path) -> bool:
    """Whether something is a path into a folder, all links and ``..`` resolved."""
    try:
        return isinstance(path, str) and folder.resolve() in Path(path).resolve().parents
    except (OSError, ValueError, RuntimeError):  # zero bytes, links in a circle
        return False


def _is_file(path: str) -> bool:
    try:
        return Path(path).is_file()
    except OSError:  # the name is too long
        return False


def read_upload(path: str | None) -> NDArray[np.uint8]:
    """An uploaded file as RGB (H, W, 3).

    Raises:
        InputError: there is no file, it is not an image, or it is too large according to its header.
    """
    from PIL import Image

    if not path:
        raise InputError("there is no image: upload one, or choose an example")
    name = Path(path).name
    try:
        with Image.open(path, formats=FORMATS) as image:
            width, height = image.size
            if width * height <= LARGEST:
                return to_rgb(image)
    except Exception as error:  # Pillow's readers raise whatever their parsing stumbles over
        raise InputError(f"{name} cannot be read as an image: give a PNG, JPEG or WebP file") from error
    raise InputError(
        f"{name} has {width * height / 1e6:.0f} megapixels ({width} x {height}), more than the {LARGEST / 1e6:.0f} "
        "that this page accepts: resize it first, or use opsnet-predict"
    )
