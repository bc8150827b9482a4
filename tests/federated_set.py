"""A small set in LVIS' form, of rectangles, with detections: from a seed, without numpy, so that any version of it
makes the same.
"""

from __future__ import annotations

import random
from typing import Any

SIZE = (48, 64)  # height, width
CATEGORIES = {3: "f", 5: "f", 7: "c", 11: "c", 20: "r", 33: "r", 40: "c", 1203: "r"}
"""Frequency by id; of 40 there are only detections, of 1203 nothing."""


def polygon(box: tuple[int, int, int, int]) -> list[list[int]]:
    """left, top, right, bottom -> LVIS' segmentation."""
    left, top, right, bottom = box
    return [[left, top, right, top, right, bottom, left, bottom]]


def federated_set(seed: int = 0, images: int = 12) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """LVIS' json, and detections: image_id, category_id, box, score.

    Detections are of annotated, negative and unknown classes, moved a little or elsewhere; one image has more than 300.
    """
    rng = random.Random(seed)
    content: dict[str, Any] = {"images": [], "annotations": [], "categories": []}
    content["categories"] = [{"id": i, "name": f"class_{i}", "frequency": f} for i, f in CATEGORIES.items()]
    detections = []
    annotated = [i for i in CATEGORIES if i not in (40, 1203)]
    for number in range(1, images + 1):
        positive = rng.sample(annotated, rng.randint(0, 4))
        negative = [i for i in CATEGORIES if i not in positive and rng.random() < 0.3]
        not_exhaustive = [i for i in positive if rng.random() < 0.3]
        content["images"].append({
            "id": number * 10, "height": SIZE[0], "width": SIZE[1], "neg_category_ids": negative,
            "not_exhaustive_category_ids": not_exhaustive,
            "coco_url": f"http://images.cocodataset.org/{'val' if number % 2 else 'train'}2017/{number:012d}.jpg",
        })  # fmt: skip
        for category in positive:
            for _ in range(rng.randint(1, 3)):
                box = _box(rng)
                content["annotations"].append({
                    "id": len(content["annotations"]) + 1, "image_id": number * 10, "category_id": category,
                    "segmentation": polygon(box), "bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]],
                    "area": (box[2] - box[0]) * (box[3] - box[1]),
                })  # fmt: skip
                if rng.random() < 0.8:
                    moved = _moved(rng, box)
                    detections.append(_detection(rng, number, category, moved))
        for _ in range(330 if number == 4 else rng.randint(0, 12)):
            detections.append(_detection(rng, number, rng.choice(list(CATEGORIES)), _box(rng)))
    return content, detections


def _box(rng: random.Random) -> tuple[int, int, int, int]:
    left, top = rng.randint(0, SIZE[1] - 12), rng.randint(0, SIZE[0] - 12)
    return left, top, rng.randint(left + 6, min(left + 30, SIZE[1])), rng.randint(top + 6, min(top + 24, SIZE[0]))


def _moved(rng: random.Random, box: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    left, top, right, bottom = box
    right, bottom = min(right + rng.randint(0, 3), SIZE[1]), min(bottom + rng.randint(0, 2), SIZE[0])
    return left + rng.randint(0, 1), top, right, bottom


def _detection(rng: random.Random, number: int, category: int, box: tuple[int, int, int, int]) -> dict[str, Any]:
    return {"image_id": number * 10, "category_id": category, "box": box, "score": rng.random()}
