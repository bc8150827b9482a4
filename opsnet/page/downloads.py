"""What a visitor takes home: overlay, COCO panoptic PNG and its json."""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from opsnet.data.conversion import SegmentLabel, describe, ids_to_rgb
from opsnet.files import write_json
from opsnet.prediction.carriers import NamedMap
from opsnet.reporting.overlays import draw_overlay

IDLE = 3600  # seconds after which a visitor's picture and files are forgotten


def new_folder() -> Path:
    """A folder's path that nobody has yet, in the machine's temporary folder; those from an hour ago are removed."""
    root = Path(tempfile.gettempdir()) / "opsnet-page"
    root.mkdir(exist_ok=True)
    for old in root.iterdir():
        if time.time() - old.stat().st_mtime > IDLE:
            shutil.rmtree(old, ignore_errors=True)
    return Path(tempfile.mkdtemp(dir=root))


def write_downloads(folder: Path, pixels: NDArray[np.uint8], found: NamedMap) -> tuple[Path, Path, Path]:
    """Writes ``overlay.png``, ``panoptic.png`` and ``panoptic.json``."""
    overlay, panoptic, listed = folder / "overlay.png", folder / "panoptic.png", folder / "panoptic.json"
    vocabulary, ids = found.vocabulary, found.ids.cpu().numpy()
    Image.fromarray(draw_overlay(pixels, found, vocabulary.names)).save(overlay)
    Image.fromarray(ids_to_rgb(ids)).save(panoptic)
    described = describe(ids, [SegmentLabel(s.id, vocabulary.ids[s.label]) for s in found.segments])
    segments = [
        {
            **known, "isthing": int(s.is_thing), "score": round(s.score, 4), "predicted_iou": round(s.iou, 4),
            "top": [[t.name, round(t.score, 4)] for t in s.top],
        }
        for known, s in zip(described, found.segments, strict=True)
    ]  # fmt: skip
    image = {"id": 0, "file_name": "picture", "height": ids.shape[0], "width": ids.shape[1]}
    annotation = {"image_id": 0, "file_name": panoptic.name, "segments_info": segments}
    write_json(listed, {"images": [image], "annotations": [annotation], "categories": vocabulary.categories()})
    return overlay, panoptic, listed
