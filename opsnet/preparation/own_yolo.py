"""YOLO's segmentation sets (Ultralytics): a text file of normalised polygons per image, to a panoptic set."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from opsnet.data.conversion import Source
from opsnet.preparation.own_destination import Destination
from opsnet.preparation.own_files import IMAGE_SUFFIXES, files_by_stem, read_lines
from opsnet.preparation.own_regions import Runs, Size, polygons_to_runs
from opsnet.preparation.own_shapes import ImageLabels, Shape, survey
from opsnet.utils.errors import InputError
from opsnet.utils.structured_files import FileError, read_yaml
from opsnet.vocabulary import Vocabulary

LAYOUT = "it needs images in images/ and text files of the same names in labels/"


def prepare_yolo(
    src: Path, to: Destination, *, vocabulary: str | None = None, skip_without_mask: bool = False
) -> None:  # fmt: skip
    """Converts YOLO's polygons.

    Args:
        src: data.yaml, whose key ``to.set`` names the folder of the images, or a folder with images and labels.
        to: the set to write.
        vocabulary: used to look up the names of data.yaml or classes.txt; without these, class n of the labels is its
            n-th name, from 0.
        skip_without_mask: leave out boxes.

    Raises:
        InputError, DatasetError: a file is missing or invalid.
    """
    images, names = from_yaml(src, to.set) if src.suffix in (".yaml", ".yml") else from_folder(src, to.set)
    if names is None:
        if vocabulary is None:
            raise InputError(f"{src} has neither data.yaml nor classes.txt: give --vocabulary, a file of the names")
        names = Vocabulary.load(vocabulary).names
    found_sources = sources(images)
    read = _Named(tuple(names))
    found = survey(found_sources, read, skip_without_mask=skip_without_mask)
    if not found.used:
        raise InputError(f"{labels_folder(images)} has no label of an image in {images}: check the folders")
    to.write_named(found_sources, read, found, tool=str(src), declared=names, vocabulary=vocabulary)


@dataclass(frozen=True)
class _Named:
    """Reads the labels of an image and names their classes.

    Attributes:
        names: of the classes, from 0.
    """

    names: tuple[str, ...]

    def __call__(self, source: Source) -> ImageLabels:
        """The polygons of an image; it has none if it has no text file."""
        return read_labels(source, self.names)


def read_labels(source: Source, names: Sequence[str]) -> ImageLabels:
    """The polygons of an image, as rows ``class x y x y ...`` with coordinates relative to the image's size.

    Raises:
        InputError: a row is not of this form, or its class has no name.
    """
    path, shapes = source.labels[0], []
    rows = [] if path == source.image else read_lines(path)
    for number, row in enumerate(rows, start=1):
        if row.strip():
            shapes.append(_shape(row.split(), f"line {number} of {path}", names))
    return ImageLabels(str(path), None, shapes)


def _shape(words: list[str], where: str, names: Sequence[str]) -> Shape:
    try:
        index, values = float(words[0]), [float(word) for word in words[1:]]
    except ValueError:
        raise InputError(f"{where} is not a class and coordinates: correct or remove it") from None
    if not index.is_integer() or not 0 <= index < len(names):
        raise InputError(f"{where} has class {words[0]}, but there are {len(names)} names, for 0 to {len(names) - 1}")
    label = names[int(index)]
    where = f"{where} ('{label}')"
    if len(values) in (4, 5):  # a detection set's, with or without its score
        return Shape(where, label, None, "a box: it has four numbers, a polygon at least six")
    return Shape(where, label, partial(_draw, values))


def _draw(values: list[float], size: Size) -> Runs:
    scaled = [value * size[k % 2] for k, value in enumerate(values)]
    if not all(math.isfinite(value) for value in values) or max(map(abs, values), default=0) > 2:
        raise ValueError("its coordinates are not relative to the image's size, from 0 to 1")
    return polygons_to_runs([scaled], size)


def sources(images: Path) -> list[Source]:
    """The images of a folder with their text files; for an image without, its labels are the image itself.

    Raises:
        InputError: the folder has no image.
    """
    labels, found = labels_folder(images), []
    if not labels.is_dir():
        raise InputError(f"folder {labels} does not exist: {LAYOUT}")
    for stem, path in files_by_stem(images, IMAGE_SUFFIXES).items():
        text = labels / f"{stem}.txt"
        rows = text if text.is_file() else path
        found.append(Source(stem, path, path.relative_to(images).as_posix(), f"{stem}.png", (rows,)))
    return found


def labels_folder(images: Path) -> Path:
    """``a/images/train`` -> ``a/labels/train``, as Ultralytics finds it: the last folder named images is replaced."""
    parts = list(images.parts)
    if "images" not in parts:
        raise InputError(f"{images} is in no folder named images: {LAYOUT}")
    last = len(parts) - 1 - parts[::-1].index("images")
    return Path(*parts[:last], "labels", *parts[last + 1 :])


def from_folder(folder: Path, name: str) -> tuple[Path, Sequence[str] | None]:
    """The folder of a set's images, and the names of classes.txt if there is one.

    Raises:
        InputError: there is no folder of images.
    """
    for images in (folder / "images" / name, folder / name / "images", folder / "images"):
        if images.is_dir():
            break
    else:
        raise InputError(f"{folder / 'images'} does not exist: {LAYOUT}, or give data.yaml")
    if (folder / "data.yaml").is_file():
        raise InputError(f"{folder} has a data.yaml: give {folder / 'data.yaml'} instead, which names the classes")
    listed = folder / "classes.txt"
    if not listed.is_file():
        return images, None
    return images, _names(read_lines(listed), str(listed))


def from_yaml(path: Path, name: str) -> tuple[Path, list[str]]:
    """The folder of a set's images, and the names of the classes.

    Raises:
        InputError: the yaml has no such set or no names, or the folder does not exist.
    """
    data = _load_yaml(path)
    names = data.get("names")
    if isinstance(names, Mapping):  # index: name
        if sorted(names, key=str) != sorted(range(len(names)), key=str):
            raise InputError(f"`names` of {path} is not numbered from 0: correct it")
        names = [names[index] for index in range(len(names))]
    where = data.get(name)
    if not isinstance(where, str):
        sets = [key for key in ("train", "val", "test") if isinstance(data.get(key), str)]
        raise InputError(f"{path} has no folder of images '{name}': give --set one of {', '.join(sets) or 'its keys'}")
    return _images_of(path, data.get("path"), where), _names(names, f"`names` of {path}")


def _images_of(path: Path, root: Any, where: str) -> Path:
    """A set's folder, relative to ``path`` in the yaml or to the yaml, also if an export begins it with too many ../"""
    bases = [path.parent / str(root), path.parent] if root else [path.parent]
    for base in bases:
        for relative in (where, where.removeprefix("../")):
            if os.path.isdir(base / relative):  # False, not an error, for a name that is too long
                return base / relative
    raise InputError(f"folder {bases[0] / where}, which {path} names, does not exist: correct it; lists are not read")


def _names(names: Any, where: str) -> list[str]:
    found = [str(name).strip() for name in names] if isinstance(names, list) else []
    if not found or not all(found):
        raise InputError(f"{where} is not a list of names: correct it")
    return found


def _load_yaml(path: Path) -> dict[Any, Any]:
    try:
        data = read_yaml(path)
    except FileError as error:
        raise InputError(f"{path} {error}") from error
    if not isinstance(data, dict):
        raise InputError(f"{path} is not YOLO's data.yaml: it needs names, and the folder of each set")
    return data
