"""Masks that a user gives (masks=FILE): json of SAM or COCO, and PNGs of ids."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from opsnet.prediction.mask_files import read_masks
from scripts.fuzz import seeds
from scripts.fuzz.cases import Case, Untrue
from scripts.fuzz.mutation import mutated_json, mutated_png

NAMES = ("masks",)
RECORDS: list[Any] = [
    {"id": 3, "segmentation": {"size": [8, 8], "counts": [40, 24]}, "predicted_iou": 0.9},
    {"id": 4, "segmentation": {"size": [8, 8], "counts": "X1h0"}, "score": 0.5},
    {"id": 5, "segmentation": [[0, 0, 5, 0, 5, 5]], "image_id": 0},
]


def case(seed: int) -> Case:
    """A file of masks for one image."""
    rng = Random(seed)
    kind = rng.randrange(4)
    if kind == 0:
        pixels = rng.choice([seeds.ids_png(), seeds.png_of(np.eye(8) * 7)])
        return Case({"m.png": mutated_png(rng, pixels)})
    wholes: list[Any] = [
        RECORDS,
        {"annotations": RECORDS, "images": [{"id": 0, "file_name": "a.png"}]},
        {"image": {"file_name": "a.png"}, "annotations": RECORDS},
    ]
    return Case({"m.json": mutated_json(rng, wholes[kind - 1])})


def run(given: Case, folder: Path) -> None:
    """Reads the masks.

    Raises:
        InputError: they are refused.
        Untrue: they contradict themselves.
    """
    given.write(folder)
    (name,) = given.files
    found = read_masks(folder / name, folder / "a.png", (8, 8))
    if found.masks.shape != (len(found), 8, 8) or not ((found.scores >= 0) & (found.scores <= 1)).all():
        raise Untrue(f"masks {found.masks.shape} with scores {found.scores}")
    if len(set(found.ids)) != len(found.ids):
        raise Untrue(f"ids {found.ids}")
