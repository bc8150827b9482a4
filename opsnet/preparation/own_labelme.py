"""labelme's jsons, one per image, to a panoptic set."""

from __future__ import annotations

import base64
import math
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np

from opsnet.data.conversion import Source
from opsnet.data.images import decode_image
from opsnet.preparation.own_destination import Destination
from opsnet.preparation.own_files import files_by_stem, progress, read_json, stored_size
from opsnet.preparation.own_images import with_slashes
from opsnet.preparation.own_regions import Runs, Size, box_mask_to_runs, ellipse_to_runs, polygons_to_runs
from opsnet.preparation.own_shapes import ImageLabels, Shape, points, survey
from opsnet.utils.errors import InputError
from opsnet.utils.files import atomic_path

VOID = ("__ignore__", "_background_")  # labelme's own labels that are not classes
Points = list[tuple[float, float]]


def prepare_labelme(
    folder: Path, to: Destination, *, vocabulary: str | None = None, skip_without_mask: bool = False
) -> None:
    """Converts labelme's jsons.

    Args:
        folder: of the jsons and their images; an image that is missing is taken from its json, if that has a copy.
        to: the set to write.
        vocabulary: used to look up the labels; by default that of ``to``, if it exists.
        skip_without_mask: leave out points and lines.

    Raises:
        InputError, DatasetError: a file is missing or invalid.
    """
    found_sources = sources(folder, to.images)
    found = survey(found_sources, read_labels, skip_without_mask=skip_without_mask)
    if not found.used:
        raise InputError(f"no json in {folder} has a shape with a label: label the images first")
    to.write_named(found_sources, read_labels, found, tool="labelme", vocabulary=vocabulary)


def sources(folder: Path, images: Path) -> list[Source]:
    """All jsons of a folder with their images.

    Args:
        folder: searched with its subfolders.
        images: folder to which copies of images are written that are only in their json.

    Raises:
        InputError: a json is not labelme's, or its image is missing.
    """
    found = []
    for stem, path in progress(list(files_by_stem(folder, (".json",)).items()), "reading jsons"):
        image = _image_path(path, _content(path), folder, images / stem)
        found.append(Source(stem, image, f"{stem}{image.suffix}", f"{stem}.png", (path,)))
    return found


def read_labels(source: Source) -> ImageLabels:
    """The shapes of an image; a shape without a label is refused.

    Raises:
        InputError: the json is not labelme's, or a label is blank.
    """
    path = source.labels[0]
    data = _content(path)
    shapes = [_shape(shape, f"shape {number}", path) for number, shape in enumerate(data["shapes"], start=1)]
    return ImageLabels(str(path), stored_size(data, str(path), "imageWidth", "imageHeight"), shapes)


def _content(path: Path) -> dict[str, Any]:
    data = read_json(path)
    try:
        if all(isinstance(shape["label"], str) for shape in data["shapes"]) and isinstance(data["imagePath"], str):
            content: dict[str, Any] = data
            return content
    except (KeyError, TypeError):
        pass
    raise InputError(f"{path} is not labelme's: it needs imagePath and shapes[label, points]; move it elsewhere")


def _shape(shape: dict[str, Any], entry: str, path: Path) -> Shape:
    label = shape["label"].strip()
    if not label:
        raise InputError(f"{entry} of {path} has a blank label: name it in labelme, or remove it")
    where, kind, group = f"{entry} ('{label}') of {path}", shape.get("shape_type") or "polygon", shape.get("group_id")
    draw = _DRAW.get(kind) if isinstance(kind, str) else None
    if draw is None:
        return Shape(where, label, None, f"a {kind} has no area: draw a polygon, rectangle, circle or mask")
    if group is not None and type(group) not in (int, str):
        raise InputError(f"{where} has group_id {group!r}, not a whole number: correct it")
    return Shape(where, None if label in VOID else label, partial(_draw, draw, shape), group=group)


def _draw(draw: Callable[[dict[str, Any], Points, Size], Runs], shape: dict[str, Any], size: Size) -> Runs:
    if "points" not in shape:
        raise ValueError("it has no points")
    return draw(shape, points(shape["points"]), size)


def _polygon(shape: dict[str, Any], corners: Points, size: Size) -> Runs:
    return polygons_to_runs([[v for corner in corners for v in corner]], size)


def _rectangle(shape: dict[str, Any], corners: Points, size: Size) -> Runs:
    """Two opposite corners, or all four."""
    if len(corners) == 2:
        (left, top), (right, bottom) = np.sort(corners, axis=0).tolist()
        corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
    return _polygon(shape, corners, size)


def _circle(shape: dict[str, Any], ends: Points, size: Size) -> Runs:
    """A centre, and a point on the edge."""
    if len(ends) != 2:
        raise ValueError("a circle has a centre and a point on its edge")
    radius = math.dist(*ends)
    return ellipse_to_runs(ends[0], (radius, radius), 0, size)


def _mask(shape: dict[str, Any], corners: Points, size: Size) -> Runs:
    """A PNG placed at the box of its first and last pixel."""
    try:
        small = np.asarray(decode_image(base64.b64decode(shape["mask"]), "it").convert("L")) > 0
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"its mask is no PNG in base64: {error}") from error
    if len(corners) != 2 or not np.isfinite(corners).all():
        raise ValueError("its points are not the first and the last pixel of its mask")
    (left, top), (right, bottom) = np.rint(corners).astype(int).tolist()
    if small.shape != (bottom - top + 1, right - left + 1):
        box = f"{right - left + 1} x {bottom - top + 1}"
        raise ValueError(f"its mask is {small.shape[1]} x {small.shape[0]}, but its points make {box}")
    return box_mask_to_runs(small, left, top, size)


_DRAW = {
    "polygon": _polygon,
    "rectangle": _rectangle,
    "oriented_rectangle": _polygon,
    "circle": _circle,
    "mask": _mask,
}  # fmt: skip


def _image_path(path: Path, data: dict[str, Any], folder: Path, copy: Path) -> Path:
    """The image of a json, in ``folder``; a copy inside it is written to ``copy`` with a suffix if there is no other.

    Raises:
        InputError: there is neither, or the name leads out of the folder.
    """
    name = with_slashes(data["imagePath"])
    is_absolute = name.startswith("/") or PureWindowsPath(name).is_absolute()
    image = path.parent / (name.rpartition("/")[2] if is_absolute else name)
    if os.path.isfile(image):
        if os.path.abspath(image).startswith(os.path.join(os.path.abspath(folder), "")):
            return image
        raise InputError(f"image {image} of {path} is not in {folder}: give the folder that holds jsons and images")
    if not data.get("imageData"):
        raise InputError(f"image {image} of {path} does not exist: put it there, or correct imagePath")
    try:
        content = base64.b64decode(data["imageData"])
        suffix = f".{(decode_image(content, 'imageData').format or 'png').lower()}"
    except (TypeError, ValueError) as error:  # DatasetError among them
        raise InputError(
            f"image {image} of {path} does not exist, and its copy inside the json, imageData, cannot be read "
            f"({error}): put the image there, or correct imagePath"
        ) from error
    written = copy.with_name(copy.name + suffix)
    if not written.is_file() or written.stat().st_mtime < path.stat().st_mtime:
        with atomic_path(written) as temporary:
            temporary.write_bytes(content)
    return written
