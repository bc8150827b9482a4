"""A valid panoptic dataset of three small images in COCO's folders, and every defect that the data doctor reports."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from opsnet.data import findings as kinds
from opsnet.data.coco_panoptic_writing import SegmentLabel, describe
from opsnet.data.findings import Kind
from opsnet.data.panoptic_dataset import PanopticDataset
from opsnet.data.panoptic_png import ids_to_rgb

CATEGORIES = [
    {"id": 3, "name": "cat", "isthing": 1},
    {"id": 5, "name": "grass [short]", "isthing": 0},  # rich would interpret the brackets as markup
    {"id": 9, "name": "dog", "isthing": 1},
]
CAT, GRASS, DOG, CROWD = 10, 70000, 300, 5  # segment ids of one, two and three bytes
LABELS = [SegmentLabel(CAT, 3), SegmentLabel(GRASS, 5), SegmentLabel(DOG, 9), SegmentLabel(CROWD, 3, True)]
IDS = np.array([[0, CAT, CAT, DOG, DOG, DOG]] * 4 + [[GRASS] * 4 + [CROWD] * 2] * 4)


@dataclass(frozen=True)
class PlantedSet:
    """A dataset in a folder, with its own vocabulary."""

    root: Path

    @property
    def images(self) -> Path:
        return self.root / "train2017"

    @property
    def annotations(self) -> Path:
        return self.root / "annotations" / "panoptic_train2017.json"

    @property
    def segments(self) -> Path:
        return self.annotations.with_suffix("")

    @property
    def vocabulary(self) -> Path:
        return self.root / "pets.json"

    @property
    def builder(self) -> partial[PanopticDataset]:
        """The datasets of a data module."""
        folders = {"images": str(self.images), "annotations": str(self.annotations)}
        return partial(PanopticDataset, **folders, vocabulary=str(self.vocabulary))

    def edit(self, change: Callable[[dict[str, Any]], object], path: Path | None = None) -> None:
        """Applies ``change`` to the json, or another one, and rewrites it."""
        path = path or self.annotations
        data = json.loads(path.read_text())
        change(data)
        path.write_text(json.dumps(data))


def sound_set(root: Path) -> PlantedSet:
    """Images 7 and 8, and 9 with the id as text; two PNGs and a JPEG of 6 x 8 pixels, the last without a segment."""
    made = PlantedSet(root)
    made.images.mkdir(parents=True)
    made.segments.mkdir(parents=True)
    images, annotations = [], []
    for number, name in enumerate(("p0.png", "p1.jpg", "p2.png")):
        ids = IDS * (number < 2)
        Image.fromarray(np.full((8, 6, 3), 90 * number, np.uint8)).save(made.images / name)
        Image.fromarray(ids_to_rgb(ids)).save(made.segments / f"p{number}.png")
        images.append({"id": 7 + number, "file_name": name, "height": 8, "width": 6})
        infos = describe(ids, LABELS)
        annotations.append({"image_id": 7 + number, "file_name": f"p{number}.png", "segments_info": infos})
    annotations[2]["image_id"] = "9"
    content = {"images": images, "annotations": annotations, "categories": CATEGORIES}
    made.annotations.write_text(json.dumps(content))
    made.vocabulary.write_text(json.dumps({"categories": CATEGORIES}))
    return made


@dataclass(frozen=True)
class Defect:
    """A planted defect: its kind, the reported name, how to plant it, and further findings that it causes."""

    kind: Kind
    offender: str
    plant: Callable[[PlantedSet], object]
    also: tuple[Kind, ...] = ()


def _json(change: Callable[[dict[str, Any]], object]) -> Callable[[PlantedSet], object]:
    return lambda made: made.edit(change)


def _first(key: str, **values: object) -> Callable[[PlantedSet], object]:
    return _json(lambda data: data[key][0].update(values))


def _segment(place: int, **values: object) -> Callable[[PlantedSet], object]:
    return _json(lambda data: data["annotations"][0]["segments_info"][place].update(values))


def _one_more_segment(**values: object) -> Callable[[PlantedSet], object]:
    return _json(lambda data: data["annotations"][0]["segments_info"].append(values))


def _cut(path: Path) -> None:
    """Truncates a file."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _repaint(made: PlantedSet) -> None:
    Image.fromarray(ids_to_rgb(np.where(IDS == 0, 77, IDS))).save(made.segments / "p0.png")


def _new_concept(made: PlantedSet) -> None:
    made.edit(lambda data: data["categories"].append({"id": 20, "name": "bird", "isthing": 1}), made.vocabulary)


def _crowd_dogs(data: dict[str, Any]) -> None:
    for annotation in data["annotations"]:
        for segment in annotation["segments_info"]:
            segment["iscrowd"] = int(segment["iscrowd"] or segment["category_id"] == 9)


DEFECTS = [
    Defect(kinds.UNREADABLE_JSON, "panoptic_train2017.json", lambda made: _cut(made.annotations)),
    Defect(kinds.UNREADABLE_JSON, "panoptic_train2017.json", lambda made: made.annotations.unlink()),
    Defect(kinds.UNREADABLE_JSON, "panoptic_train2017.json", _json(lambda data: data.update(images=3))),
    Defect(
        kinds.MALFORMED,
        "images[0]",
        _first("images", file_name="../train2017/p0.png"),
        also=(kinds.UNKNOWN_IMAGE, kinds.ORPHAN_IMAGE),
    ),
    Defect(
        kinds.MALFORMED,
        "annotations[0]",
        _first("annotations", file_name="/etc/p0.png"),
        also=(kinds.NOT_ANNOTATED, kinds.ORPHAN_PNG),
    ),
    Defect(kinds.MALFORMED, "categories[0]", _first("categories", isthing="1")),
    Defect(kinds.REPEATED_CATEGORY, "category 9 ('dog')", _first("categories", id=9)),
    Defect(
        kinds.UNREADABLE_JSON,
        "panoptic_train2017.json",
        _json(lambda data: data["annotations"].clear()),
    ),
    Defect(kinds.MALFORMED, "p1.png", _json(lambda data: data["annotations"][1].pop("segments_info"))),
    Defect(kinds.MALFORMED, "p0.png", _segment(0, category_id="cat")),
    Defect(kinds.MALFORMED, "annotations[3]", _json(lambda data: data["annotations"].append({"image_id": None}))),
    Defect(kinds.MALFORMED, "images[3]", _json(lambda data: data["images"].append({"id": 4}))),
    Defect(kinds.MALFORMED, "categories[3]", _json(lambda data: data["categories"].append("cat"))),
    Defect(kinds.REPEATED_IMAGE, "p0.png", _json(lambda data: data["images"].append(data["images"][0]))),
    Defect(kinds.UNKNOWN_IMAGE, "p0.png", _first("annotations", image_id=99), also=(kinds.NOT_ANNOTATED,)),
    Defect(kinds.ANNOTATED_TWICE, "p0.png", _json(lambda data: data["annotations"].append(data["annotations"][0]))),
    Defect(kinds.NOT_ANNOTATED, "p9.png", _json(lambda data: data["images"].append({"id": 1, "file_name": "p9.png"}))),
    Defect(kinds.MISSING_FOLDER, "train2017", lambda made: shutil.rmtree(made.images)),
    Defect(kinds.MISSING_FOLDER, "panoptic_train2017", lambda made: shutil.rmtree(made.segments)),
    Defect(kinds.MISSING_IMAGE, "p1.jpg", lambda made: (made.images / "p1.jpg").unlink()),
    Defect(kinds.MISSING_PNG, "p1.png", lambda made: (made.segments / "p1.png").unlink()),
    Defect(kinds.ORPHAN_IMAGE, "more.jpg", lambda made: shutil.copy(made.images / "p1.jpg", made.images / "more.jpg")),
    Defect(
        kinds.ORPHAN_PNG, "more.png", lambda made: shutil.copy(made.segments / "p1.png", made.segments / "more.png")
    ),
    Defect(kinds.UNREADABLE_IMAGE, "p1.jpg", lambda made: _cut(made.images / "p1.jpg")),
    Defect(kinds.UNREADABLE_IMAGE, "p0.png", lambda made: (made.images / "p0.png").write_text("no image")),
    Defect(kinds.UNREADABLE_PNG, "p0.png", lambda made: _cut(made.segments / "p0.png")),
    Defect(kinds.WRONG_MODE, "p0.png", lambda made: Image.new("L", (6, 8)).save(made.segments / "p0.png")),
    Defect(kinds.OTHER_SIZE, "p0.png", lambda made: Image.new("RGB", (8, 6)).save(made.images / "p0.png")),
    Defect(kinds.WRONG_SIZE, "p0.png", _first("images", width=7)),
    Defect(kinds.WRONG_SIZE, "p0.png", _first("images", height=9)),
    Defect(kinds.ID_RANGE, "p0.png", _one_more_segment(id=256**3, category_id=3)),
    Defect(kinds.ID_RANGE, "p0.png", _segment(0, id=0), also=(kinds.UNLISTED_ID,)),
    Defect(kinds.REPEATED_ID, "p0.png", _one_more_segment(id=CAT, category_id=3)),
    Defect(kinds.UNLISTED_ID, "p0.png", _repaint),
    Defect(kinds.ABSENT_ID, "p0.png", _one_more_segment(id=78, category_id=3, area=5)),
    Defect(kinds.WRONG_AREA, "p0.png", _segment(1, area=15)),
    Defect(kinds.WRONG_BOX, "p0.png", _segment(1, bbox=[0, 4, 5, 4])),
    Defect(kinds.REPEATED_CROWD, "p0.png", _segment(0, iscrowd=1)),
    Defect(kinds.STUFF_CROWD, "p0.png", _segment(1, iscrowd=1)),
    Defect(kinds.UNKNOWN_CATEGORY, "p0.png", _segment(0, category_id=4)),
    Defect(kinds.OTHER_KIND, "category 3 ('cat')", _first("categories", isthing=0)),
    Defect(kinds.ONLY_CROWD, "'dog'", _json(_crowd_dogs)),
    Defect(kinds.UNUSED_CATEGORY, "'bird'", _new_concept),
]
