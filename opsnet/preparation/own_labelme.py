"""Converts labelme's jsons, one per image, to the images of a panoptic set."""

from __future__ import annotations

import base64
import binascii
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from opsnet.data.coco_panoptic import SegmentLabel
from opsnet.data.conversion import Source
from opsnet.preparation.own_files import files_by_stem, read_json, require_size, upright_size
from opsnet.preparation.own_regions import Region, Runs, mask_to_runs, paint, polygons_to_runs
from opsnet.utils.errors import InputError
from opsnet.vocabulary import Vocabulary

VOID = ("__ignore__", "_background_")  # labelme's own labels that are not classes


@dataclass(frozen=True)
class LabelmeReader:
    """Reads the shapes of an image; a reader for ``convert``.

    Attributes:
        ids: (label, category id) of all labels.
        stuff: ids of stuff classes.
    """

    ids: tuple[tuple[str, int], ...]
    stuff: tuple[int, ...]

    def __call__(self, source: Source) -> tuple[NDArray[np.int64], list[SegmentLabel]]:
        """Segment ids (H, W) and their labels; an image without shapes is void.

        Raises:
            InputError: a shape is invalid, or the image has another size.
        """
        path, ids = source.labels[0], dict(self.ids)
        data, size = _content(path), upright_size(source.image)
        if data.get("imageWidth") and data.get("imageHeight"):
            require_size(str(path), (int(data["imageWidth"]), int(data["imageHeight"])), source.image)
        regions = []
        for number, shape in enumerate(data["shapes"], start=1):
            try:
                pixels = _runs(shape, size)
            except (KeyError, TypeError, ValueError, OSError) as error:
                name = f"shape {number} ('{shape['label']}') of {path}"
                raise InputError(f"{name} cannot be drawn ({error}): correct it in labelme or remove it") from error
            category = None if shape["label"] in VOID else ids[shape["label"]]
            regions.append(Region(pixels, category, shape.get("group_id")))
        return paint(regions, size, stuff=self.stuff)


def scan(folder: Path) -> tuple[list[Source], dict[str, Path]]:
    """All jsons of a folder with their images, and all labels that are classes, by name, each with a json that has it.

    Raises:
        InputError: a json is not labelme's, its image is missing, or there are no labels.
    """
    sources: list[Source] = []
    used: dict[str, Path] = {}
    for stem, path in files_by_stem(folder, (".json",)).items():
        data = _content(path)
        image = _image_path(path, data)
        sources.append(Source(stem, image, f"{stem}{image.suffix}", f"{stem}.png", (path,)))
        for shape in data["shapes"]:
            if shape["label"] not in VOID:
                used.setdefault(shape["label"], path)
    if not used:
        raise InputError(f"no json in {folder} has a shape with a label: label the images first")
    return sources, dict(sorted(used.items()))


def vocabulary(used: Mapping[str, Path]) -> Vocabulary:
    """The labels by name, with ids from 1; ``Vocabulary.from_names`` determines which are stuff.

    Raises:
        InputError: two labels differ only in case.
    """
    seen: dict[str, str] = {}
    for label, path in used.items():
        other = seen.setdefault(label.casefold(), label)
        if other != label:
            raise InputError(
                f"labels '{other}' ({used[other]}) and '{label}' ({path}) differ only in case: rename one in labelme"
            )
    return Vocabulary.from_names(used, "labelme")


def label_ids(used: Mapping[str, Path], vocabulary: Vocabulary, where: str) -> tuple[tuple[str, int], ...]:
    """(label, category id) of all labels, looked up by name or synonym, ignoring case.

    Raises:
        InputError: the vocabulary lacks a label.
    """
    known = {name.casefold(): c.id for c in reversed(vocabulary.concepts) for name in reversed(c.names)}
    for label, path in used.items():
        if label.casefold() not in known:
            raise InputError(
                f"{path} has the label '{label}', which {where} lacks: add it there, or rename the label in labelme"
            )
    return tuple((label, known[label.casefold()]) for label in used)


def _content(path: Path) -> dict[str, Any]:
    data = read_json(path)
    try:
        if all(isinstance(shape["label"], str) for shape in data["shapes"]) and isinstance(data["imagePath"], str):
            content: dict[str, Any] = data
            return content
    except (KeyError, TypeError):
        pass
    raise InputError(f"{path} is not labelme's: it needs imagePath and shapes[label, points]; move it elsewhere")


def _image_path(path: Path, data: dict[str, Any]) -> Path:
    # A json written on Windows has backslashes.
    image = path.parent / PureWindowsPath(data["imagePath"]).as_posix()
    if image.is_file():
        return image
    inside = " (its copy inside the json, imageData, is not used)" if data.get("imageData") else ""
    raise InputError(f"image {image} of {path} does not exist{inside}: put it there, or correct imagePath")


def _runs(shape: dict[str, Any], size: tuple[int, int]) -> Runs:
    """The pixels of a shape; a missing ``shape_type`` means polygon, as in labelme's old files."""
    kind, points = shape.get("shape_type") or "polygon", [(float(x), float(y)) for x, y in shape["points"]]
    if kind == "mask":
        return mask_to_runs(_mask(shape, points, size))
    if kind == "circle":
        return mask_to_runs(_circle(points, size))
    if kind == "rectangle" and len(points) == 2:
        (left, top), (right, bottom) = np.sort(points, axis=0).tolist()
        points = [(left, top), (right, top), (right, bottom), (left, bottom)]
    if kind in ("polygon", "rectangle"):
        return polygons_to_runs([[v for point in points for v in point]], size)
    raise ValueError(f"a {kind} has no area: draw a polygon, rectangle, circle or mask")


def _circle(points: list[tuple[float, float]], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Pixels (H, W) whose centre lies within the circle of a centre and a point on its edge."""
    (x, y), (edge_x, edge_y) = points
    rows, columns = np.ogrid[: size[1], : size[0]]
    inside: NDArray[np.bool_] = np.hypot(columns + 0.5 - x, rows + 0.5 - y) <= np.hypot(edge_x - x, edge_y - y)
    return inside


def _mask(shape: dict[str, Any], points: list[tuple[float, float]], size: tuple[int, int]) -> NDArray[np.bool_]:
    """(H, W): the PNG placed at the box of its first and last pixel."""
    (left, top), (right, bottom) = np.rint(points).astype(int).tolist()
    try:
        with Image.open(io.BytesIO(base64.b64decode(shape["mask"]))) as png:
            small = np.asarray(png.convert("L")) > 0
    except (OSError, binascii.Error) as error:
        raise ValueError(f"its mask is no PNG in base64: {error}") from error
    whole = np.zeros((size[1], size[0]), dtype=bool)
    place = whole[max(top, 0) : bottom + 1, max(left, 0) : right + 1]
    if place.shape != small.shape:
        raise ValueError(
            f"its mask is {small.shape[1]} x {small.shape[0]}, but its points make {place.shape[1]} x {place.shape[0]}"
        )
    place[:] = small
    return whole
