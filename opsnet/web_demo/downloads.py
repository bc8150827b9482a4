"""The downloads of a result: overlay, COCO panoptic PNG and its json."""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from opsnet.prediction.carriers import PanopticResult
from opsnet.prediction.writing import PredictionWriter

IDLE = 3600  # seconds after which a visitor's image and files are deleted


def new_folder() -> Path:
    """A new folder in the machine's temporary folder; folders older than an hour are removed."""
    root = Path(tempfile.gettempdir()) / "opsnet-page"
    root.mkdir(exist_ok=True)
    for old in root.iterdir():
        if time.time() - old.stat().st_mtime > IDLE:
            shutil.rmtree(old, ignore_errors=True)
    return Path(tempfile.mkdtemp(dir=root))


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
