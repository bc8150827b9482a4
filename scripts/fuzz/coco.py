"""COCO's json of instances, as ``opsnet-prepare own coco`` reads it."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from random import Random

from opsnet.preparation.own_coco import prepare_coco
from scripts.fuzz import converted, seeds
from scripts.fuzz.cases import Case
from scripts.fuzz.mutation import mutated_json, mutated_png

NAMES = converted.NAMES
_ROWS = [0, 0, 5, 0, 5, 5, 0, 5]
INSTANCES = {
    "images": [{"id": 1, "file_name": "a.png", "width": 8, "height": 8}],
    "annotations": [
        {
            "id": 1,
            "image_id": 1,
            "category_id": 1,
            "iscrowd": 0,
            "segmentation": [_ROWS],
            "area": 25,
            "bbox": _ROWS[:4],
        },
        {"id": 2, "image_id": 1, "category_id": 2, "iscrowd": 1, "segmentation": {"size": [8, 8], "counts": [40, 24]}},
        {"id": 3, "image_id": 1, "category_id": 2, "segmentation": {"size": [8, 8], "counts": "X1h0"}},
    ],
    "categories": [{"id": 1, "name": "cat", "supercategory": "animal"}, {"id": 2, "name": "sky", "isthing": 0}],
}


def case(seed: int) -> Case:
    """A json of one image, changed; sometimes the image is."""
    rng = Random(seed)
    image = mutated_png(rng, seeds.photo()) if rng.random() < 0.05 else seeds.photo()
    options = {
        "by_name": rng.random() < 0.2,
        "crowd": rng.choice([None, None, "keep", "instances"]),
        "skip_without_mask": rng.random() < 0.3,
    }
    return Case({"a.json": mutated_json(rng, INSTANCES), "images/a.png": image}, options)


def run(given: Case, folder: Path) -> None:
    """Converts the set and reads it back."""
    given.write(folder)
    converted.convert(partial(prepare_coco, folder / "images", folder / "a.json", **given.arguments), folder)
