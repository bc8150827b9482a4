"""Small valid inputs, drawn here, from which cases are made."""

from __future__ import annotations

import io
import json
from functools import cache
from typing import Any

import numpy as np
from PIL import Image

SIDE = 8
CATEGORIES = [
    {"id": 1, "name": "cat", "isthing": 1},
    {"id": 2, "name": "grass", "isthing": 0},
    {"id": 3, "name": "dog", "isthing": 1, "synonyms": ["hound"]},
]
VOCABULARY = json.dumps({"categories": CATEGORIES}).encode()


@cache
def photo(form: str = "PNG", mode: str = "RGB", **options: Any) -> bytes:
    """An image of 8 x 8 pixels as the bytes of a file."""
    columns = np.arange(SIDE * SIDE * 3, dtype=np.uint8).reshape(SIDE, SIDE, 3)
    buffer = io.BytesIO()
    Image.fromarray(columns).convert(mode).save(buffer, format=form, **options)
    return buffer.getvalue()


@cache
def blank(side: int) -> bytes:
    """A white square of ``side`` x ``side`` pixels as a small PNG."""
    buffer = io.BytesIO()
    Image.new("1", (side, side), 1).save(buffer, format="PNG")
    return buffer.getvalue()


def ids() -> np.ndarray:
    """A map with void, a cat (id 5), grass (id 70000) and a crowd of dogs (id 300)."""
    plane = np.zeros((SIDE, SIDE), dtype=np.int64)
    plane[:4], plane[4:6], plane[6, :5] = 5, 70_000, 300
    return plane


def png_of(pixels: np.ndarray, **options: Any) -> bytes:
    """An array as a PNG."""
    buffer = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(buffer, format="PNG", **options)
    return buffer.getvalue()


@cache
def ids_png() -> bytes:
    """The map as COCO's PNG."""
    plane = ids()
    return png_of(np.stack([plane % 256, plane // 256 % 256, plane // 65536], axis=-1))


def panoptic(image: str = "a.png", png: str = "a.png") -> dict[str, Any]:
    """A panoptic json of the map."""
    return {
        "images": [{"id": 4, "file_name": image, "width": SIDE, "height": SIDE}],
        "annotations": [
            {
                "image_id": 4,
                "file_name": png,
                "segments_info": [
                    {"id": 5, "category_id": 1, "iscrowd": 0, "area": 32, "bbox": [0, 0, 8, 4]},
                    {"id": 70_000, "category_id": 2, "iscrowd": 0, "area": 16, "bbox": [0, 4, 8, 2]},
                    {"id": 300, "category_id": 3, "iscrowd": 1, "area": 5, "bbox": [0, 6, 5, 1]},
                ],
            }
        ],
        "categories": CATEGORIES,
    }
