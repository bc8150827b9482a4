"""labelme's jsons, as ``opsnet-prepare own labelme`` reads them."""

from __future__ import annotations

import base64
from functools import partial
from pathlib import Path
from random import Random

import numpy as np

from opsnet.preparation.own_labelme import prepare_labelme
from scripts.fuzz import converted, seeds
from scripts.fuzz.cases import Case
from scripts.fuzz.mutation import mutated_json, mutated_png

NAMES = converted.NAMES


def content(image: bytes, mask: bytes) -> dict[str, object]:
    """A json with a shape of each kind, and the image itself."""
    square = [[0, 0], [4, 0], [4, 4], [0, 4]]
    return {
        "version": "5.5.0",
        "imagePath": "a.png",
        "imageWidth": 8,
        "imageHeight": 8,
        "imageData": base64.b64encode(image).decode(),
        "shapes": [
            {"label": "cat", "points": square, "shape_type": "polygon", "group_id": None},
            {"label": "dog", "points": [[1, 1], [5, 6]], "shape_type": "rectangle", "group_id": 1},
            {"label": "dog", "points": square, "shape_type": "oriented_rectangle", "group_id": 1},
            {"label": "sky", "points": [[4, 4], [6, 6]], "shape_type": "circle"},
            {
                "label": "cat",
                "points": [[2, 2], [4, 4]],
                "shape_type": "mask",
                "mask": base64.b64encode(mask).decode(),
            },
        ],
    }


def case(seed: int) -> Case:
    """A json of one image, which is beside it or only inside it."""
    rng = Random(seed)
    image, mask = seeds.photo(), seeds.png_of(np.full((3, 3), 255))
    if rng.random() < 0.1:
        image = mutated_png(rng, image)
    if rng.random() < 0.1:
        mask = mutated_png(rng, mask)
    files = {"a.json": mutated_json(rng, content(image, mask))}
    if rng.random() < 0.7:
        files["a.png"] = image
    return Case({f"in/{name}": data for name, data in files.items()}, {"skip_without_mask": rng.random() < 0.3})


def run(given: Case, folder: Path) -> None:
    """Converts the set and reads it back."""
    given.write(folder)
    converted.convert(partial(prepare_labelme, folder / "in", **given.arguments), folder)
