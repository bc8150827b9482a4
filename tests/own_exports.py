"""Small exports of annotation tools, beside those of own_sets.py: CVAT, Label Studio, YOLO and VOC."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from own_sets import CLASSES, NUMBERS, SEMANTIC, grid, save_image, write
from PIL import Image

from opsnet.preparation.own_voc import standard_colour

CVAT_LABELS = (
    "<labels><label><name>grass</name></label><label><name>cat</name></label><label><name>dog</name></label></labels>"
)
# A cat of two parts; a dog of higher z_order over it; a mask of grass, 2 x 3 from (0, 4), reaching the left edge.
CVAT_SHAPES = """
<polygon label="cat" source="manual" occluded="0" points="0.00,0.00;4.00,0.00;4.00,3.00;0.00,3.00" group_id="4"/>
<polygon label="dog" points="1,0;5,0;5,4;1,4" z_order="1"/>
<polygon label="cat" points="7,0;8,0;8,1;7,1" z_order="0" group_id="4"/>
<mask label="grass" source="manual" occluded="0" rle="0, 2, 1, 3" left="0" top="4" width="3" height="2" z_order="0"/>
<ellipse label="cat" cx="6" cy="4" rx="1" ry="1" z_order="0"/>
<tag label="sunny"/>
"""


def cvat_tree(root: Path, shapes: str = CVAT_SHAPES, **more: str) -> list[object]:
    save_image(root / "images" / "a" / "one.jpg")
    attributes = {"id": "0", "name": "a/one.jpg", "width": "8", "height": "6", **more}
    image = " ".join(f'{key}="{value}"' for key, value in attributes.items())
    path = root / "annotations.xml"
    path.write_text(
        '<?xml version="1.0" encoding="utf-8"?>\n'
        f"<annotations><version>1.1</version><meta><job>{CVAT_LABELS}</job></meta>"
        f"<image {image}>{shapes}</image></annotations>"
    )
    return ["cvat", root / "images", path]


SIZES = (3, 7, 11, 15)  # bits of counts, less 1


def packed(values: np.ndarray) -> list[int]:
    """Values of 8 bits in blocks: equal ones as a repetition, others as they are."""
    bits = f"{values.size:032b}{7:05b}" + "".join(f"{size:04b}" for size in SIZES)
    values = values.ravel()
    ends = [*np.flatnonzero(np.diff(values)) + 1, values.size]
    start = 0
    for number, end in enumerate(ends):
        while start < end:
            count = min(end - start, 2 ** SIZES[number % 4] + 1)
            index = next(k for k in (number % 4, 0, 1, 2, 3) if count - 1 < 2 ** (SIZES[k] + 1))
            head = f"{index:02b}{count - 1:0{SIZES[index] + 1}b}"
            if number % 3:
                bits += "1" + head + f"{values[start]:08b}"
            else:
                bits += "0" + head + "".join(f"{v:08b}" for v in values[start : start + count])
            start += count
    bits += "0" * (-len(bits) % 8)
    return [int(bits[k : k + 8], 2) for k in range(0, len(bits), 8)]


def result(kind: str, value: dict[str, Any], label: str = "cat", **more: Any) -> dict[str, Any]:
    size = {"original_width": 8, "original_height": 6, "image_rotation": 0}
    return {**size, "type": kind, "value": {**value, kind: [label]}, "id": f"{kind}{label}", **more}


def brush(text: str) -> dict[str, Any]:
    pixels = np.zeros((6, 8, 4), np.uint8)
    pixels[grid(text) > 0] = (255, 0, 0, 255)
    return {"format": "rle", "rle": packed(pixels)}


POLYGON = {"points": [[0, 0], [50, 0], [50, 50], [0, 50]], "closed": True}
STUDIO_RESULTS = [
    result("polygonlabels", POLYGON),
    result("brushlabels", brush("........ " * 4 + "11...... 111....."), "grass"),
    result("ellipselabels", {"x": 75, "y": 100 * 4 / 6, "radiusX": 12.5, "radiusY": 100 / 6, "rotation": 90}, "dog"),
    {"type": "choices", "value": {"choices": ["indoor"]}, "id": "c"},
]


def studio_tree(
    root: Path, results: Any = STUDIO_RESULTS, change: Callable[[list[Any]], Any] | None = None
) -> list[object]:
    save_image(root / "images" / "a" / "one.jpg")
    save_image(root / "images" / "0123abcd-two.jpg")
    tasks = [
        {"id": 7, "data": {"image": "/data/upload/1/1a2b3c4d-one.jpg"}, "annotations": [{"result": results}]},
        {"id": 8, "data": {"image": "/data/upload/1/0123abcd-two.jpg"}, "annotations": [{"result": []}]},
        {"id": 9, "data": {"image": "gone.jpg"}, "annotations": [{"result": [], "was_cancelled": True}]},
    ]
    if change is not None:
        change(tasks)
    return ["label_studio", root / "images", write(root / "export.json", tasks)]


YOLO_ROWS = "1 0 0 0.5 0 0.5 0.5 0 0.5\n\n0 0.5 0.5 1 0.5 1 1 0.5 1\n1 0.25 0 0.75 0 0.75 1 0.25 1\n"


def yolo_tree(
    root: Path, rows: str = YOLO_ROWS, names: str = "[cat, grass]", images: str = "images/train"
) -> list[object]:
    save_image(root / "set" / "images" / "train" / "a" / "one.jpg")
    save_image(root / "set" / "images" / "train" / "two.jpg", 5, 4)
    labels = root / "set" / "labels" / "train" / "a" / "one.txt"
    labels.parent.mkdir(parents=True, exist_ok=True)
    labels.write_text(rows)
    path = root / "set" / "data.yaml"
    path.write_text(f"train: {images}\nnames: {names}\nnc: 2\n")
    return ["yolo", path]


LABELMAP = "# label:color_rgb:parts:actions\nbackground:0,0,0::\ngrass:10,200,30::\ncat:1,2,3::\ndog:4,5,6::\n"


def palette(pixels: np.ndarray) -> Image.Image:
    image = Image.fromarray(pixels.astype(np.uint8))
    image.putpalette([value for index in range(256) for value in standard_colour(index)])
    return image


def voc_tree(root: Path) -> list[object]:
    folder = root / "voc"
    save_image(folder / "JPEGImages" / "one.jpg")
    save_image(folder / "JPEGImages" / "unlabelled.jpg")
    for name, pixels in (("Class", grid(SEMANTIC, v=255, c=3, d=7)), ("Object", grid(NUMBERS, b=255))):
        (folder / f"Segmentation{name}").mkdir(parents=True, exist_ok=True)
        palette(pixels).save(folder / f"Segmentation{name}" / "one.png")
    return ["voc", folder, "--vocabulary", write(root / "classes.json", CLASSES)]
