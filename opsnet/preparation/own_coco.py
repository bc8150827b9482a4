"""Converts COCO's json of instances (polygons or run lengths) to the images of a panoptic set."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opsnet.data.coco_panoptic import SegmentLabel
from opsnet.data.conversion import Source
from opsnet.preparation.own_files import read_json, refuse_same_stems, require_size, upright_size
from opsnet.preparation.own_regions import Region, Runs, checked_runs, paint, polygons_to_runs
from opsnet.utils.errors import InputError
from opsnet.vocabulary import Vocabulary

FORM = "images[id, file_name], annotations[image_id, category_id, segmentation] and categories[id, name]"


@dataclass(frozen=True)
class CocoReader:
    """Reads the annotations of an image; a reader for ``convert``.

    Attributes:
        ids: all ids of the vocabulary.
        stuff: ids of stuff classes.
    """

    ids: tuple[int, ...]
    stuff: tuple[int, ...]

    def __call__(self, source: Source) -> tuple[NDArray[np.int64], list[SegmentLabel]]:
        """Segment ids (H, W) and their labels; an image without annotations is void.

        Raises:
            InputError: an annotation is invalid, or the image has another size.
        """
        path = source.labels[0]
        content = _content(path)
        image = content.images[source.image_id]
        size = upright_size(source.image)
        if image.get("width") and image.get("height"):
            declared = (int(image["width"]), int(image["height"]))
            require_size(f"image {source.image_id} of {path}", declared, source.image)
        regions = [self._region(a, size, path) for a in content.annotations.get(source.image_id, [])]
        return paint(regions, size, stuff=self.stuff)

    def _region(self, annotation: dict[str, Any], size: tuple[int, int], path: Path) -> Region:
        category: int = annotation["category_id"]
        name = f"annotation {annotation.get('id')} of {path}"
        if category not in self.ids:
            raise InputError(
                f"{name} has category_id {category}, which the vocabulary lacks: add the category to `categories`"
            )
        try:
            pixels = _runs(annotation.get("segmentation"), size)
        except Exception as error:  # pycocotools raises plain Exception
            raise InputError(
                f"{name} has a segmentation that cannot be drawn ({error}): correct or remove it"
            ) from error
        return Region(pixels, category, is_crowd=bool(int(annotation.get("iscrowd") or 0)))


def _runs(segmentation: Any, size: tuple[int, int]) -> Runs:
    if isinstance(segmentation, dict):
        return checked_runs(segmentation, size)
    if isinstance(segmentation, list):
        if not all(isinstance(polygon, list) for polygon in segmentation):
            raise ValueError("polygons are lists within a list")
        return polygons_to_runs(segmentation, size)
    raise ValueError("it has none")


def sources(images: Path, annotations: Path) -> list[Source]:
    """All images of the json, in its order.

    Raises:
        InputError: the json is not of this form, or two images have the same name.
    """
    if not images.is_dir():
        raise InputError(f"folder {images} does not exist: check the path")
    found = []
    for image_id, image in _content(annotations).images.items():
        name = Path(image["file_name"])
        if name.is_absolute() or ".." in name.parts:
            raise InputError(f"{annotations} has file_name {name}: write it relative to the folder of the images")
        png = name.with_suffix(".png").as_posix()
        found.append(Source(image_id, images / name, name.as_posix(), png, (annotations,)))
    refuse_same_stems((Path(s.file_name) for s in found), str(annotations))
    return found


def vocabulary(annotations: Path) -> Vocabulary:
    """The json's categories; those without ``isthing`` are things.

    Raises:
        InputError: the json is not of this form.
    """
    categories = [{"isthing": 1, **c} for c in _content(annotations).categories]
    try:
        return Vocabulary.from_categories(annotations.stem, categories)
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"`categories` of {annotations} is not a list of id and name ({error!r}): correct it"
        ) from error


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
class _Content:
    """Content of a json; ``annotations`` by the id of their image, in the json's order."""

    images: dict[int | str, dict[str, Any]]
    annotations: dict[int | str, list[dict[str, Any]]]
    categories: list[dict[str, Any]]


@cache
def _content(path: Path) -> _Content:
    """Read once per process; forked worker processes inherit it."""
    data = read_json(path)
    try:
        images = {image["id"]: {**image, "file_name": str(image["file_name"])} for image in data["images"]}
        by_image: dict[int | str, list[dict[str, Any]]] = {}
        for annotation in data["annotations"]:
            known = {**annotation, "category_id": int(annotation["category_id"])}
            by_image.setdefault(annotation["image_id"], []).append(known)
        content = _Content(images, by_image, [dict(c) for c in data["categories"]])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} is not a COCO json of instances ({error!r}): it needs {FORM}") from error
    if len(images) < len(data["images"]):
        raise InputError(f"{path} has an image id twice: give each image a unique id")
    if not images:
        raise InputError(f"{path} has no images: check the path")
    if strangers := by_image.keys() - images.keys():
        stranger = min(strangers, key=str)
        raise InputError(f"{path} annotates image {stranger}, which is not in its `images`: add it, or drop both")
    return content
