"""The page's files: a private folder per process, and in it the downloads of each result."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from opsnet.prediction.carriers import PanopticResult
from opsnet.prediction.writing import PredictionWriter

IDLE = 3600  # seconds after which a visitor's image and files are deleted
MOST_BYTES, MOST_FILES = 2 << 30, 2_000  # of all visitors on the disk; those written first make room for new ones
BROKEN_OFF = 600  # seconds after which a file that is still being uploaded is not any more


def private_folder() -> Path:
    """A new folder that only this user can enter, removed when the process ends.

    Its name cannot be guessed, so that no one can put a link in its place.
    """
    folder = Path(tempfile.mkdtemp(prefix="opsnet-page-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def new_folder(parent: Path) -> Path:
    """A new folder for one result; folders in ``parent`` older than an hour are removed."""
    parent.mkdir(exist_ok=True)
    for old in parent.iterdir():
        with suppress(OSError):  # removed meanwhile, to make room for another visitor
            if time.time() - old.stat().st_mtime > IDLE:
                shutil.rmtree(old, ignore_errors=True)
    return Path(tempfile.mkdtemp(dir=parent))


def make_room(
    folder: Path, lasting: Collection[Path], most_bytes: int = MOST_BYTES, most_files: int = MOST_FILES
) -> None:
    """Deletes uploads that broke off, and the oldest files until the limits hold.

    Args:
        folder: of the uploads and results; gradio writes files that are not complete directly into it.
        lasting: files that stay.
        most_bytes, most_files: the limits.
    """
    with _MAKING_ROOM:
        _delete_oldest(folder, lasting, most_bytes, most_files)


_MAKING_ROOM = Lock()


def _delete_oldest(folder: Path, lasting: Collection[Path], most_bytes: int, most_files: int) -> None:
    found = []
    for parent, _, names in os.walk(folder):  # unlike Path.rglob, it passes over folders that are deleted meanwhile
        for path in (Path(parent, name) for name in names):
            with suppress(OSError):
                if path not in lasting and path.is_file():
                    found.append((path.stat().st_mtime, path.stat().st_size, path))
    found.sort(reverse=True)
    size, now = 0, time.time()
    for number, (written, bytes_, path) in enumerate(found):
        size += bytes_
        broken_off = path.parent == folder and now - written > BROKEN_OFF
        if broken_off or size > most_bytes or number >= most_files:
            with suppress(OSError):
                path.unlink()
                if path.parent != folder:
                    path.parent.rmdir()


def write_downloads(
    folder: Path, name: str, pixels: NDArray[np.uint8], found: PanopticResult
) -> tuple[Path, Path, Path]:
    """Writes the same files as ``opsnet-predict`` for one image: overlay, panoptic PNG and json.

    Args:
        folder: folder to write to.
        name: name of the uploaded file.
        pixels: the image (H, W, 3).
        found: its map (H, W).
    """
    image = Path(name)
    writer = PredictionWriter(folder, "panoptic")
    writer.add(image, pixels, found)
    writer.finish()
    return folder / f"{image.stem}_overlay.png", folder / "panoptic" / f"{image.stem}.png", folder / "panoptic.json"
