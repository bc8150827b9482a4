"""Handmade panoptic datasets on disk."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from opsnet.vocabulary import Concept, Vocabulary

VOCABULARY = Vocabulary("tiny", (Concept(3, "cat", True), Concept(5, "grass", False), Concept(9, "dog", True)))
CATEGORIES = [
    {"id": 3, "name": "cat", "isthing": 1},
    {"id": 5, "name": "grass", "isthing": 0},
    {"id": 9, "name": "dog", "isthing": 1},
]


@dataclass
class TinySet:
    """A dataset on disk; ``options`` are arguments of ``PanopticDataset``."""

    images: Path
    annotations: Path
    segments: Path

    @property
    def options(self) -> dict[str, Any]:
        return {"images": self.images, "annotations": self.annotations, "vocabulary": VOCABULARY}

    def edit(self, change: Callable[[dict[str, Any]], object]) -> None:
        """Applies ``change`` to the json and rewrites it."""
        data = json.loads(self.annotations.read_text())
        change(data)
        self.annotations.write_text(json.dumps(data))


def write_png(path: Path, ids: np.ndarray) -> None:
    """Ids as R + 256 G + 65536 B."""
    Image.fromarray(np.stack([ids % 256, ids // 256 % 256, ids // 65536], -1).astype(np.uint8)).save(path)


def write_set(root: Path, sources: list[tuple[np.ndarray, list[tuple[int, int, int]]]]) -> TinySet:
    """Writes a dataset; image i has id 7 + i and the colour (i, 100, column).

    Args:
        root: a new folder.
        sources: ids (H, W) and rows of segment id, category id, is-crowd.
    """
    made = TinySet(root / "images", root / "panoptic.json", root / "panoptic")
    made.images.mkdir(parents=True)
    made.segments.mkdir()
    images, annotations = [], []
    for i, (ids, rows) in enumerate(sources):
        height, width = ids.shape
        pixels = np.zeros((height, width, 3), np.uint8)
        pixels[..., 0], pixels[..., 1], pixels[..., 2] = i, 100, np.arange(width)
        Image.fromarray(pixels).save(made.images / f"p{i}.bmp")
        write_png(made.segments / f"p{i}.png", ids)
        images.append({"id": 7 + i, "file_name": f"p{i}.bmp", "height": height, "width": width})
        infos = [{"id": s, "category_id": c, "iscrowd": crowd} for s, c, crowd in rows]
        annotations.append({"image_id": 7 + i, "file_name": f"p{i}.png", "segments_info": infos})
    content = {"images": images, "annotations": annotations, "categories": CATEGORIES}
    made.annotations.write_text(json.dumps(content))
    return made
