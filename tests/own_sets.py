"""Small user datasets in each format that opsnet-prepare own reads, and readers for its output."""

from __future__ import annotations

import base64
import io
import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as runs

from opsnet.commands.prepare import main

Prepare = Callable[..., str]
Segment = tuple[int, int, int, int, list[int]]


@pytest.fixture
def prepare(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Prepare:
    """Arguments -> output of the command; by default the dataset is ``train`` of ``dst``."""

    def run(*arguments: object, code: int = 0) -> str:
        words = [str(a) for a in arguments]
        defaults = {"--set": "train", "--dst": str(tmp_path / "dst"), "--workers": "1"}
        words += [word for pair in defaults.items() if pair[0] not in words for word in pair]
        capsys.readouterr()
        try:
            main(["own", *words])
            ended: object = 0
        except SystemExit as end:
            ended = end.code
        output = capsys.readouterr()
        assert ended == code, output.err
        return output.out + output.err

    return run


def grid(text: str, **values: int) -> np.ndarray:
    """Rows of one-letter or one-digit pixels; letters are looked up in ``values``, a dot is 0."""
    rows = text.split()
    return np.array([[values.get(c, 0) if not c.isdigit() else int(c) for c in row] for row in rows])


def save(path: Path, pixels: np.ndarray, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


def claims_size(path: Path, width: int, height: int) -> None:
    """Changes the size in a PNG's header, which its pixels do not fill."""
    content = bytearray(path.read_bytes())
    content[16:24] = struct.pack(">II", width, height)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    path.write_bytes(content)


def save_image(path: Path, width: int = 8, height: int = 6, orientation: int | None = None) -> Path:
    exif = Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    return save(path, np.full((height, width, 3), 90, np.uint8), exif=exif)


def write(path: Path, value: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))
    return path


def read(dst: Path, name: str = "train") -> dict[int | str, tuple[np.ndarray, list[Segment]]]:
    """Image id -> segment ids (H, W), and (id, category, crowd, area, box) of each segment; all files agree."""
    from opsnet.data.panoptic_dataset import PanopticDataset  # imports torch, which not every test needs

    path = dst / f"panoptic_{name}.json"
    options = {"annotations": path, "images": dst / "images" / name, "vocabulary": str(dst / "vocabulary.json")}
    dataset = PanopticDataset(**options)
    dataset.check_pixels()
    found = {}
    for sample, record in zip((dataset[i] for i in range(len(dataset))), json.loads(path.read_text())["annotations"]):
        rows = [(s["id"], s["category_id"], s["iscrowd"], s["area"], s["bbox"]) for s in record["segments_info"]]
        found[record["image_id"]] = (sample.truth.ids.numpy(), rows)
    return found


def vocabulary_of(dst: Path) -> list[tuple[int, str, int]]:
    return [(c["id"], c["name"], c["isthing"]) for c in json.loads((dst / "vocabulary.json").read_text())["categories"]]


def refused(prepare: Prepare, arguments: list[object], *parts: object) -> None:
    message = prepare(*arguments, code=2).splitlines()[-1]
    assert message.startswith("error: ")
    for part in parts:
        assert str(part) in message


CLASSES = {
    "categories": [
        {"id": 3, "name": "cat", "isthing": 1},
        {"id": 7, "name": "dog", "isthing": 1, "synonyms": ["hound"]},
        {"id": 9, "name": "grass", "isthing": 0},
    ]
}
SEMANTIC = """
....vvvv
....vvvv
cc99cc99
cc99cc99
ddd99999
ddd99999
"""
NUMBERS = """
55555555
........
55......
55......
55b....5
55b....5
"""


def masks_tree(root: Path, dtype: type = np.uint8) -> list[object]:
    """One image, a JPEG in a subfolder; the arguments of the command without instances."""
    save_image(root / "images" / "a" / "one.jpg")
    save(root / "masks" / "a" / "one.png", grid(SEMANTIC, v=255, c=3, d=7).astype(dtype))
    vocabulary = write(root / "classes.json", CLASSES)
    return ["masks", root / "images", root / "masks", "--vocabulary", vocabulary]


def box(left: float, top: float, right: float, bottom: float) -> list[float]:
    return [left, top, right, top, right, bottom, left, bottom]


def compressed(pixels: np.ndarray) -> dict[str, Any]:
    encoded = runs.encode(np.asfortranarray(pixels.astype(np.uint8)))
    return {"size": encoded["size"], "counts": encoded["counts"].decode()}


CROWD = "1.....1. " * 6
COCO = {
    "images": [
        {"id": 40, "file_name": "a/one.jpg", "width": 8, "height": 6},
        {"id": 7, "file_name": "two.png"},
    ],
    "annotations": [
        {"id": 1, "image_id": 40, "category_id": 5, "segmentation": [box(1, 1, 3, 3)]},  # under the next
        {"id": 2, "image_id": 40, "category_id": 2, "segmentation": [box(1, 1, 3, 3)], "iscrowd": 0},
        {"id": 3, "image_id": 40, "category_id": 1, "segmentation": [box(0, 0, 6, 5), box(0, 5, 1, 6)]},
        {"id": 4, "image_id": 40, "category_id": 2, "segmentation": compressed(grid(CROWD)), "iscrowd": 1},
        {"id": 5, "image_id": 40, "category_id": 9, "segmentation": {"size": [6, 8], "counts": [42, 6]}},
        {"id": 6, "image_id": 40, "category_id": 9, "segmentation": [box(6, 0, 7, 1)]},
    ],
    "categories": [
        {"id": 1, "name": "table", "supercategory": "furniture"},
        {"id": 2, "name": "cup", "isthing": 1},
        {"id": 5, "name": "lid"},
        {"id": 9, "name": "grass", "isthing": 0},
    ],
}


def coco_tree(root: Path, change: Callable[[dict[str, Any]], Any] | None = None) -> list[object]:
    save_image(root / "images" / "a" / "one.jpg")
    save_image(root / "images" / "two.png", 5, 4)
    content = json.loads(json.dumps(COCO))
    if change is not None:
        change(content)
    return ["coco", root / "images", write(root / "instances.json", content)]


def shape(label: str, kind: str, points: list[list[float]], **more: Any) -> dict[str, Any]:
    return {"label": label, "shape_type": kind, "points": points, "group_id": None, "flags": {}, **more}


def png_text(pixels: np.ndarray) -> str:
    file = io.BytesIO()
    Image.fromarray(pixels.astype(bool)).save(file, "png")
    return base64.b64encode(file.getvalue()).decode()


SHAPES = [
    shape("dog", "polygon", [[0, 0], [4, 0], [4, 3], [0, 3]]),
    shape("cat", "rectangle", [[7, 2], [5, 0]], group_id=1),
    shape("cat", "circle", [[6, 4], [6, 5]], group_id=1),
    shape("cat", "rectangle", [[4, 0], [5, 1]]),
    shape("grass", "mask", [[0, 4], [2, 5]], mask=png_text(grid("110 111"))),
    shape("grass", "rectangle", [[7, 5], [8, 6]]),
    shape("__ignore__", "rectangle", [[1, 1], [2, 2]]),
]


def labelme_tree(root: Path, shapes: list[dict[str, Any]] = SHAPES, **more: Any) -> list[object]:
    save_image(root / "own" / "a" / "images" / "one.jpg")
    content = {"version": "5.5.0", "shapes": shapes, "imagePath": "images\\one.jpg", "imageData": None}
    write(root / "own" / "a" / "first.json", {**content, "imageWidth": 8, "imageHeight": 6, **more})
    return ["labelme", root / "own"]
