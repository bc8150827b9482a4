"""COCO's json of instances (polygons or run lengths), as many tools export it, to a panoptic set."""

from __future__ import annotations

import reprlib
import sys
from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from opsnet.data.conversion import Source
from opsnet.data.panoptic_records import ImageId, image_id, parse_category, repeated
from opsnet.preparation import own_vocabulary
from opsnet.preparation.own_destination import Destination
from opsnet.preparation.own_files import read_json, read_once, refuse_same_stems, stored_size
from opsnet.preparation.own_images import ImageFolder
from opsnet.preparation.own_regions import Runs, Size, checked_runs, polygons_to_runs
from opsnet.preparation.own_shapes import ImageLabels, Shape, ShapeReader, check_crowd, numbers, survey
from opsnet.utils.errors import InputError
from opsnet.utils.json_fields import FieldError, field, flag, items, whole
from opsnet.vocabulary import Vocabulary

FORM = "images[id, file_name], annotations[image_id, category_id, segmentation] and categories[id, name]"


def prepare_coco(
    images: Path, annotations: Path, to: Destination, *, vocabulary: str | None = None, crowd: str | None = None,
    by_name: bool = False, skip_without_mask: bool = False,
) -> None:  # fmt: skip
    """Converts a COCO json of instances.

    Args:
        images: folder.
        annotations: the json.
        to: the set to write.
        vocabulary: replaces the json's categories, with the same ids.
        crowd: ``keep`` leaves iscrowd as it is, ``instances`` reads crowd as single instances; by default it is kept,
            unless all annotations have it, which is questioned.
        by_name: find images by the name of the file alone.
        skip_without_mask: leave out annotations without a segmentation.

    Raises:
        InputError, DatasetError: a file is missing or invalid.
    """
    classes = json_vocabulary(annotations)
    if vocabulary is not None:
        given = Vocabulary.load(vocabulary)
        require_same_ids(classes, given, annotations)
        classes = given
    classes = to.vocabulary(classes)
    found_sources = sources(images, annotations, by_name=by_name)
    found = survey(found_sources, read_labels, skip_without_mask=skip_without_mask)
    for category in found.used:
        if category not in classes.index_of_id:
            raise InputError(
                f"{_first_of(annotations, category)} has category_id {category}, which the vocabulary lacks: add the "
                "category to `categories`"
            )
    check_crowd(found, str(annotations), crowd, [(c.id, c.name) for c in classes.concepts])
    ids = tuple((i, i) for i in classes.ids)
    reader = ShapeReader(read_labels, ids, own_vocabulary.stuff_ids(classes), crowd == "instances")
    to.write(found_sources, reader, classes)


def read_labels(source: Source) -> ImageLabels:
    """The annotations of an image, labelled by category id."""
    path = source.labels[0]
    content = _content(path)
    size = content.images[source.image_id].size
    return ImageLabels(f"image {source.image_id} of {path}", size, content.shapes.get(source.image_id, ()))


def sources(images: Path, annotations: Path, *, by_name: bool = False) -> list[Source]:
    """All images of the json, in its order.

    Raises:
        InputError: the json is not of this form, an image is missing, or two have the same name.
    """
    folder, found = ImageFolder(images, by_name=by_name), []
    for number, image in _content(annotations).images.items():
        name = folder.find(image.file_name, f"image {number} of {annotations}")
        png = PurePosixPath(name).with_suffix(".png").as_posix()
        found.append(Source(number, images / name, name, png, (annotations,)))
    refuse_same_stems((Path(s.file_name) for s in found), str(annotations))
    return found


def json_vocabulary(annotations: Path) -> Vocabulary:
    """The json's categories; those without ``isthing`` are things, and Roboflow's root category is dropped.

    Raises:
        InputError: the json is not of this form.
    """
    content = _content(annotations)
    for root in content.roots:
        print(f"left out category {root['id']}: {root['name']}, Roboflow's name for the whole set", file=sys.stderr)
    return Vocabulary.from_categories(annotations.stem, content.categories)


def require_same_ids(categories: Vocabulary, given: Vocabulary, annotations: Path) -> None:
    """Checks a vocabulary that replaces the json's categories: names may differ, but must not be swapped.

    Raises:
        InputError: it lacks an id, or has the name of a category only at another id.
    """
    known = {concept.id: {name.casefold() for name in concept.names} for concept in given.concepts}
    for concept in categories.concepts:
        name = concept.name.casefold()
        elsewhere = [i for i, names in known.items() if name in names]
        if concept.id not in known or (elsewhere and concept.id not in elsewhere):
            has = f"has that name at {elsewhere[0]}" if elsewhere else "lacks that id"
            raise InputError(
                f"{annotations} has category {concept.id}: {concept.name}, but vocabulary '{given.name}' {has}: "
                "give one with the ids of the json, or none"
            )


@dataclass(frozen=True)
class _Image:
    """An entry of ``images``; its name is checked when the file is looked for."""

    file_name: Any
    size: Size | None


@dataclass(frozen=True)
class _Content:
    """Content of a json; ``shapes`` by the id of their image, in the json's order."""

    images: dict[ImageId, _Image]
    shapes: dict[ImageId, list[Shape]]
    categories: list[dict[str, Any]]
    roots: list[dict[str, Any]]


@read_once
def _content(path: Path) -> _Content:
    """The content of the file."""
    data = read_json(path)
    try:
        records, annotations, categories = (field(data, k, items) for k in ("images", "annotations", "categories"))
    except FieldError as error:
        raise InputError(f"{path} is not a COCO json of instances ({error}): it needs {FORM}") from error
    entries = [parse_entry(path, "images", n, _image, record) for n, record in enumerate(records)]
    if twice := repeated(entry[0] for entry in entries):
        raise InputError(f"{path} has image id {twice[0]} twice: give each image a unique id")
    if not entries:
        raise InputError(f"{path} has no images: check the path")
    images, shapes = dict(entries), dict[ImageId, list[Shape]]()
    for number, record in enumerate(annotations):
        owner, shape = parse_entry(path, "annotations", number, parse_shape, record)
        if owner not in images:
            raise InputError(f"{path} annotates image {owner}, which is not in its `images`: add it, or drop both")
        shapes.setdefault(owner, []).append(shape)
    classes = [parse_entry(path, "categories", number, _category, record) for number, record in enumerate(categories)]
    used = {shape.label for of_image in shapes.values() for shape in of_image}
    roots = _roots(classes, used)
    return _Content(images, shapes, [c for c in classes if c not in roots], roots)


def parse_entry(path: Path, key: str, number: int, parse: Any, record: Any) -> Any:
    """What ``parse`` makes of an entry of the json: (record, path, where) -> a value.

    Raises:
        InputError: a field is missing or invalid; the message names the entry.
    """
    try:
        return parse(record, path, f"{key}[{number}] of {path}")
    except FieldError as error:
        raise InputError(f"{key}[{number}] of {path}: {error}") from error


def _image(record: Any, path: Path, where: str) -> tuple[ImageId, _Image]:
    number, name = field(record, "id", image_id), field(record, "file_name", lambda value: value)
    return number, _Image(name, stored_size(record, where))


def _category(record: Any, path: Path, where: str) -> dict[str, Any]:
    """An entry of ``categories``; a thing, unless it says otherwise."""
    parsed = parse_category({"isthing": 1, **record} if isinstance(record, dict) else record)
    return {**record, "id": parsed.id, "name": parsed.name, "isthing": int(parsed.is_thing)}


def parse_shape(record: Any, path: Path, where: str) -> tuple[ImageId, Shape]:
    """An entry of ``annotations``: the id of its image, and its shape, labelled by category id.

    Raises:
        FieldError: a field is missing or invalid.
    """
    owner, category = field(record, "image_id", image_id), field(record, "category_id", whole)
    is_crowd = field(record, "iscrowd", lambda value: value is not None and flag(value), False)
    if "id" in record:
        where = f"annotation {reprlib.repr(record['id'])} of {path}"
    segmentation = record.get("segmentation")
    if problem := _without_mask(segmentation):
        return owner, Shape(where, category, None, problem, is_crowd=is_crowd)
    return owner, Shape(where, category, partial(_draw, segmentation), is_crowd=is_crowd)


def _without_mask(segmentation: Any) -> str:
    """Why there is nothing to draw: detection sets have boxes alone, and some tools write polygons of two points."""
    if not segmentation or segmentation == [[]]:
        return "it has no segmentation"
    if isinstance(segmentation, list) and all(isinstance(p, list) and len(p) < 6 for p in segmentation):
        return f"a polygon of {len(segmentation[0])} numbers: it needs x and y for at least three points"
    return ""


def _draw(segmentation: Any, size: Size) -> Runs:
    if isinstance(segmentation, dict):
        return checked_runs(segmentation, size)
    if not isinstance(segmentation, list):
        raise ValueError("its segmentation is neither polygons nor run lengths")
    if not all(isinstance(polygon, list) for polygon in segmentation):
        raise ValueError("polygons are lists within a list")
    return polygons_to_runs([numbers(polygon) for polygon in segmentation], size)


def _roots(categories: list[dict[str, Any]], used: set[Any]) -> list[dict[str, Any]]:
    """Roboflow's root category: not annotated, of supercategory "none", and the supercategory of the others."""
    parents = Counter(str(c.get("supercategory")) for c in categories)
    return [
        c for c in categories
        if c.get("supercategory") == "none" and c["id"] not in used and parents[c["name"]]
    ]  # fmt: skip


def _first_of(path: Path, category: Any) -> str:
    shapes = (shape for of_image in _content(path).shapes.values() for shape in of_image)
    return next(shape.where for shape in shapes if shape.label == category)
