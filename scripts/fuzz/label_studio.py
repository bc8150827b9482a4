"""Label Studio's json, as ``opsnet-prepare own label_studio`` reads it."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from opsnet.preparation.own_label_studio import prepare_label_studio
from scripts.fuzz import converted, seeds
from scripts.fuzz.cases import Case
from scripts.fuzz.mutation import mutated_json

NAMES = converted.NAMES


def tasks() -> list[dict[str, Any]]:
    """One task with a polygon, an ellipse and a brush that covers the image."""
    size = {"original_width": 8, "original_height": 8, "image_rotation": 0}
    polygon = {"points": [[0, 0], [50, 0], [50, 50]], "polygonlabels": ["cat"]}
    ellipse = {"x": 50, "y": 50, "radiusX": 20, "radiusY": 10, "rotation": 10, "ellipselabels": ["sky"]}
    brush = {"format": "rle", "rle": brush_rle(), "brushlabels": ["dog"]}
    shapes = (("polygonlabels", polygon), ("ellipselabels", ellipse), ("brushlabels", brush))
    results = [{"id": str(n), "type": kind, "value": value, **size} for n, (kind, value) in enumerate(shapes)]
    return [{"id": 1, "data": {"image": "/data/upload/1/0123abcd-a.png"}, "annotations": [{"result": results}]}]


def brush_rle() -> list[int]:
    """256 values of 255 in Label Studio's run lengths: one block that repeats a value."""
    head = f"{256:032b}{7:05b}{3:04b}{7:04b}{7:04b}{7:04b}"
    bits = f"{head}1{1:02b}{255:08b}{255:08b}"
    padded = bits + "0" * (-len(bits) % 8)
    return [int(padded[i : i + 8], 2) for i in range(0, len(padded), 8)]


def case(seed: int) -> Case:
    """A json of one task, changed."""
    rng = Random(seed)
    files = {"a.json": mutated_json(rng, tasks()), "images/a.png": seeds.photo()}
    return Case(files, {"skip_without_mask": rng.random() < 0.3})


def run(given: Case, folder: Path) -> None:
    """Converts the set and reads it back."""
    given.write(folder)
    converted.convert(partial(prepare_label_studio, folder / "images", folder / "a.json", **given.arguments), folder)
