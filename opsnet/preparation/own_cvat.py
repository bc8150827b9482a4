"""CVAT's own XML, "CVAT for images 1.1", to a panoptic set."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import numpy as np

from opsnet.data.conversion import Source
from opsnet.preparation.own_destination import Destination
from opsnet.preparation.own_files import read_once, refuse_same_stems
from opsnet.preparation.own_images import ImageFolder
from opsnet.preparation.own_regions import Runs, Size, box_mask_to_runs, ellipse_to_runs, polygons_to_runs
from opsnet.preparation.own_shapes import ImageLabels, Shape, survey
from opsnet.utils.errors import InputError

EXPORT = "export the task from CVAT as 'CVAT for images 1.1'"


def prepare_cvat(
    images: Path, annotations: Path, to: Destination, *, vocabulary: str | None = None, by_name: bool = False,
    skip_without_mask: bool = False,
) -> None:  # fmt: skip
    """Converts CVAT's XML of images.

    Args:
        images: folder.
        annotations: the XML.
        to: the set to write.
        vocabulary: used to look up the labels; by default that of ``to``, if it exists.
        by_name: find images by the name of the file alone.
        skip_without_mask: leave out boxes, points, lines, cuboids and skeletons.

    Raises:
        InputError, DatasetError: a file is missing or invalid.
    """
    found_sources = sources(images, annotations, by_name=by_name)
    found = survey(found_sources, read_labels, skip_without_mask=skip_without_mask)
    declared = _content(annotations).labels
    if not found.used and not declared:
        raise InputError(f"{annotations} has no labels: label the images first")
    to.write_named(found_sources, read_labels, found, tool="CVAT", declared=declared, vocabulary=vocabulary)


def sources(images: Path, annotations: Path, *, by_name: bool = False) -> list[Source]:
    """All images of the XML, in its order; the id is the path without suffix.

    Raises:
        InputError: the XML is not of this form, an image is missing, or two have the same name.
    """
    folder, found = ImageFolder(images, by_name=by_name), []
    for name, image in _content(annotations).images.items():
        path = folder.find(name, f"image {image.get('id')} of {annotations}")
        stem = PurePosixPath(path).with_suffix("").as_posix()
        found.append(Source(stem, images / path, path, f"{stem}.png", (annotations,), entry=name))
    refuse_same_stems((Path(s.file_name) for s in found), str(annotations))
    return found


def read_labels(source: Source) -> ImageLabels:
    """The shapes of an image.

    Raises:
        InputError: a shape is not of CVAT's form.
    """
    path = source.labels[0]
    image = _content(path).images[source.entry]
    where = f"image {image.get('id')} of {path}"
    shapes = [_shape(child, f"{child.tag} {n} in {where}") for n, child in enumerate(image, 1) if child.tag != "tag"]
    return ImageLabels(where, (_whole(image, "width", where), _whole(image, "height", where)), shapes)


@dataclass(frozen=True)
class _Content:
    """The labels of the task, and its images by name."""

    labels: list[str]
    images: dict[str, Element]


@read_once
def _content(path: Path) -> _Content:
    """The content of the file."""
    try:
        root = ElementTree.parse(path).getroot()
    except (OSError, ElementTree.ParseError, LookupError, ValueError, RecursionError) as error:  # LookupError: encoding
        raise InputError(f"{path} is not an XML file ({error}): {EXPORT}") from error
    images = root.findall("image")
    if root.tag != "annotations" or not images:
        has_tracks = root.find("track") is not None
        raise InputError(f"{path} has {'tracks of a video' if has_tracks else 'no images'}: {EXPORT}")
    named: dict[str, Element] = {}
    for number, image in enumerate(images):
        name = image.get("name")
        if not name or name in named:
            raise InputError(f"image {number} of {path} has {'the name of another' if name else 'no name'}: {EXPORT}")
        named[name] = image
    labels = [(label.findtext("name") or "").strip() for label in root.iterfind("meta//labels/label")]
    return _Content(list(dict.fromkeys(filter(None, labels))), named)


def _shape(shape: Element, where: str) -> Shape:
    label = (shape.get("label") or "").strip()
    if not label:
        raise InputError(f"{where} has no label: name it in CVAT, or remove it")
    where = f"{where} ('{label}')"
    layer, group = _whole(shape, "z_order", where, 0), _whole(shape, "group_id", where, 0)
    draw = _DRAW.get(shape.tag)
    if draw is None:
        problem = f"a {shape.tag} has no mask: draw a polygon, mask or ellipse in CVAT"
        return Shape(where, label, None, problem)
    return Shape(where, label, partial(draw, dict(shape.attrib)), group=group or None, layer=layer)


def _whole(element: Element, key: str, where: str, default: int | None = None) -> int:
    text = element.get(key)
    if text is None and default is not None:
        return default
    try:
        return int(text or "")
    except ValueError:
        raise InputError(f"{where} has {key} {text!r}, not a whole number: {EXPORT}") from None


def _number(shape: dict[str, str], key: str, default: float | None = None) -> float:
    if key not in shape and default is not None:
        return default
    value = float(shape[key]) if key in shape else math.nan
    if not math.isfinite(value):
        raise ValueError(f"its {key} is {shape.get(key)}")
    return value


def _polygon(shape: dict[str, str], size: Size) -> Runs:
    """``points="x,y;x,y;..."`` in pixels."""
    pairs = [pair.split(",") for pair in shape.get("points", "").split(";") if pair.strip()]
    if any(len(pair) != 2 for pair in pairs):
        raise ValueError("its points are not x,y;x,y;...")
    return polygons_to_runs([[float(value) for pair in pairs for value in pair]], size)


def _ellipse(shape: dict[str, str], size: Size) -> Runs:
    centre, radii = (_number(shape, "cx"), _number(shape, "cy")), (_number(shape, "rx"), _number(shape, "ry"))
    return ellipse_to_runs(centre, radii, _number(shape, "rotation", 0.0), size)


def _mask(shape: dict[str, str], size: Size) -> Runs:
    """Run lengths of a box, row by row, first those of the background."""
    left, top, width, height = (int(shape[key]) for key in ("left", "top", "width", "height"))
    lengths = [int(text) for text in shape.get("rle", "").split(",")]
    if min(lengths) < 0 or min(width, height) < 1 or sum(lengths) != width * height:
        raise ValueError(f"run lengths that do not add up to its box of {width} x {height}")
    if width > size[0] or height > size[1]:
        raise ValueError(f"its box of {width} x {height} is larger than the image")
    values = np.arange(len(lengths)) % 2 == 1
    return box_mask_to_runs(np.repeat(values, lengths).reshape(height, width), left, top, size)


_DRAW = {"polygon": _polygon, "mask": _mask, "ellipse": _ellipse}
