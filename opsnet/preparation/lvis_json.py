"""The json of LVIS v1 (https://www.lvisdataset.org/dataset), checked: images of COCO, instances, and what is annotated.

In each image only some classes are annotated, see :mod:`opsnet.metrics.federated`. Instances may overlap.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from opsnet.data.panoptic_records import file_name, repeated
from opsnet.preparation.own_coco import parse_entry, parse_shape, require_same_ids
from opsnet.preparation.own_files import read_json, read_once
from opsnet.preparation.own_regions import Size
from opsnet.preparation.own_shapes import Shape
from opsnet.utils.errors import InputError
from opsnet.utils.json_fields import FieldError, field, items, nonblank, whole
from opsnet.vocabulary import Vocabulary

CLASSES = Vocabulary.load("lvis_1203")
FREQUENCIES = ("r", "c", "f")
WHERE = "give lvis_v1_val.json or lvis_v1_train.json of https://www.lvisdataset.org/dataset"


@dataclass(frozen=True)
class LvisImage:
    """One entry of ``images``.

    Attributes:
        file_name: COCO's folder and file, ``val2017/000000397133.jpg``.
        size: (width, height).
        negative: category ids that are known to be absent.
        not_exhaustive: category ids of which not every instance is annotated.
    """

    file_name: str
    size: Size
    negative: tuple[int, ...]
    not_exhaustive: tuple[int, ...]


@dataclass(frozen=True)
class LvisJson:
    """Content of the file.

    Attributes:
        images: by id, in the file's order.
        shapes: instances by the id of their image, labelled by category id.
        frequencies: "r", "c" or "f" by category id.
    """

    images: dict[int, LvisImage]
    shapes: dict[int, list[Shape]]
    frequencies: dict[int, str]


@read_once
def load_lvis(path: Path) -> LvisJson:
    """Reads the file, once per process.

    Raises:
        InputError: it is missing, is not of this form, or has other classes than LVIS v1; the message names the entry.
    """
    data = read_json(path)
    try:
        records, annotations, categories = (field(data, k, items) for k in ("images", "annotations", "categories"))
    except FieldError as error:
        raise InputError(f"{path} is not LVIS' json ({error}): {WHERE}") from error
    images = [parse_entry(path, "images", n, _image, record) for n, record in enumerate(records)]
    if twice := repeated(number for number, _ in images):
        raise InputError(f"{path} has image id {twice[0]} twice: {WHERE}")
    found = LvisJson(dict(images), {}, _frequencies(path, categories))
    for number, record in enumerate(annotations):
        owner, shape = parse_entry(path, "annotations", number, parse_shape, record)
        if owner not in found.images:
            raise InputError(f"{path} annotates image {owner}, which is not in its `images`: {WHERE}")
        if shape.label not in found.frequencies:
            raise InputError(f"{shape.where} has category_id {shape.label}, which is not in `categories`: {WHERE}")
        if shape.draw is None:
            raise InputError(f"{shape.where} cannot be drawn ({shape.problem}): {WHERE}")
        found.shapes.setdefault(owner, []).append(shape)
    return found


def _image(record: Any, path: Path, where: str) -> tuple[int, LvisImage]:
    if isinstance(record, dict) and "coco_url" not in record and "file_name" in record:
        raise InputError(f"{where} has no coco_url, so this is an LVIS before v1: {WHERE}")
    place = PurePosixPath(field(record, "coco_url", nonblank))
    size = field(record, "width", whole), field(record, "height", whole)
    if min(size) < 1:
        raise FieldError(f"is {size[0]} x {size[1]} pixels: {WHERE}")
    lists = [field(record, f"{key}_category_ids", _ids) for key in ("neg", "not_exhaustive")]
    name = field({"coco_url": "/".join(place.parts[-2:])}, "coco_url", file_name)
    return field(record, "id", whole), LvisImage(name, size, *lists)


def _ids(value: Any) -> tuple[int, ...]:
    ids = tuple(map(whole, items(value)))
    if unknown := [i for i in ids if i not in CLASSES.index_of_id]:
        raise TypeError(f"a list of category ids from 1 to {len(CLASSES)}, which {unknown[0]} is not")
    return ids


def _frequencies(path: Path, records: list[Any]) -> dict[int, str]:
    """The frequency of each category, whose ids must be those of the packaged vocabulary."""
    parsed = [parse_entry(path, "categories", number, _category, record) for number, record in enumerate(records)]
    categories = [{"id": number, "name": name, "isthing": 1} for number, name, _ in parsed]
    require_same_ids(Vocabulary.from_categories(path.stem, categories), CLASSES, path)
    return {number: frequency for number, _, frequency in parsed}


def _category(record: Any, path: Path, where: str) -> tuple[int, str, str]:
    name = field(record, "name", nonblank).replace("_", " ")
    return field(record, "id", whole), name, field(record, "frequency", _frequency)


def _frequency(value: Any) -> str:
    if value not in FREQUENCIES:
        raise TypeError("r, c or f")
    return str(value)
