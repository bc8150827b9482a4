"""Label Studio's own json (export "JSON") of polygons, brushes and ellipses, to a panoptic set."""

from __future__ import annotations

import reprlib
from collections.abc import Callable
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opsnet.data.conversion import Source
from opsnet.preparation.own_destination import Destination
from opsnet.preparation.own_files import read_json, read_once, refuse_same_stems, stored_size
from opsnet.preparation.own_images import ImageFolder
from opsnet.preparation.own_regions import Runs, Size, ellipse_to_runs, mask_to_runs, polygons_to_runs
from opsnet.preparation.own_shapes import ImageLabels, Shape, numbers, points, survey
from opsnet.utils.errors import InputError

EXPORT = "export the project from Label Studio as JSON"


def prepare_label_studio(
    images: Path, annotations: Path, to: Destination, *, vocabulary: str | None = None, skip_without_mask: bool = False
) -> None:
    """Converts Label Studio's json.

    Args:
        images: folder, searched for the name of each task's file, with and without its upload prefix.
        annotations: the json.
        to: the set to write.
        vocabulary: used to look up the labels; by default that of ``to``, if it exists.
        skip_without_mask: leave out rectangles and keypoints.

    Raises:
        InputError, DatasetError: a file is missing or invalid.
    """
    found_sources = sources(images, annotations)
    found = survey(found_sources, read_labels, skip_without_mask=skip_without_mask)
    if not found.used:
        raise InputError(f"{annotations} has no labels: label the images first")
    to.write_named(found_sources, read_labels, found, tool="Label Studio", vocabulary=vocabulary)


def sources(images: Path, annotations: Path) -> list[Source]:
    """The images of all annotated tasks, in their order; the id is the path without suffix.

    Raises:
        InputError: the json is not of this form, an image is missing, or two have the same name.
    """
    folder, found = ImageFolder(images, by_name=True), []
    for entry, task in _tasks(annotations).items():
        path = folder.find(_image(task, f"{entry} of {annotations}"), f"{entry} of {annotations}")
        stem = PurePosixPath(path).with_suffix("").as_posix()
        found.append(Source(stem, images / path, path, f"{stem}.png", (annotations,), entry=entry))
    refuse_same_stems((Path(s.file_name) for s in found), str(annotations))
    return found


def read_labels(source: Source) -> ImageLabels:
    """The shapes of an image.

    Raises:
        InputError: a result is not of Label Studio's form.
    """
    where = f"{source.entry} of {source.labels[0]}"
    results = _results(_tasks(source.labels[0])[source.entry], where)
    names: dict[Any, str] = {}
    for number, result in enumerate(results, start=1):
        if not isinstance(result.get("id"), (str, int, type(None))):
            raise InputError(f"result {number} in {where} has an id that is no text: {EXPORT}")
        if label := _label(result):
            names.setdefault(result.get("id"), label)
    size: Size | None = None
    shapes = []
    for number, result in enumerate(results, start=1):
        if result.get("type") in ("labels", "choices", "textarea"):  # of the shape with the same id, or of the image
            continue
        if result.get("image_rotation"):
            raise InputError(f"{where} was rotated in Label Studio, which is not supported: rotate the file instead")
        size = stored_size(result, where, "original_width", "original_height") or size
        shapes.append(_shape(result, names.get(result.get("id")), f"result {number} in {where}", size))
    return ImageLabels(where, size, shapes)


@read_once
def _tasks(path: Path) -> dict[str, dict[str, Any]]:
    """The annotated tasks, by their name for messages."""
    data = read_json(path)
    rows = data if isinstance(data, list) else []
    if not rows or not all(isinstance(row, dict) and isinstance(row.get("annotations"), list) for row in rows):
        raise InputError(f"{path} is not a list of tasks with annotations: {EXPORT}, not as JSON-MIN")
    tasks = {f"task {row.get('id', number)}": row for number, row in enumerate(rows, start=1)}
    if len(tasks) < len(rows):
        raise InputError(f"{path} has a task id twice: {EXPORT}")
    annotated = {entry: row for entry, row in tasks.items() if _kept(row)}
    if not annotated:
        raise InputError(f"{path} has no annotated task: label the images first")
    return annotated


def _kept(task: dict[str, Any]) -> list[dict[str, Any]]:
    return [a for a in task["annotations"] if isinstance(a, dict) and not a.get("was_cancelled")]


def _results(task: dict[str, Any], where: str) -> list[dict[str, Any]]:
    kept = _kept(task)
    if len(kept) > 1:
        raise InputError(f"{where} has {len(kept)} annotations: keep one, and delete the others in Label Studio")
    results = kept[0].get("result")
    if not isinstance(results, list) or not all(isinstance(r, dict) for r in results):
        raise InputError(f"{where} has no list of results: {EXPORT}")
    return results


def _image(task: dict[str, Any], where: str) -> str:
    data = task.get("data")
    texts = [v for v in data.values() if isinstance(v, str)] if isinstance(data, dict) else []
    name = data.get("image") if isinstance(data, dict) and isinstance(data.get("image"), str) else None
    if name is None and len(texts) != 1:
        raise InputError(f"{where} has no `image` in its data: {EXPORT}")
    return name or texts[0]


def _label(result: dict[str, Any]) -> str | None:
    """The class of a shape, in its own value or in a result of type "labels" with the same id."""
    value = result.get("value")
    found = value.get(result.get("type")) if isinstance(value, dict) and isinstance(result.get("type"), str) else None
    if isinstance(found, list) and found and isinstance(found[0], str) and found[0].strip():
        return found[0].strip()
    return None


def _shape(result: dict[str, Any], label: str | None, where: str, stored: Size | None) -> Shape:
    if label is None:
        raise InputError(f"{where} has no label: name it in Label Studio, or remove it")
    where, kind = f"{where} ('{label}')", str(result.get("type")).removesuffix("labels")
    draw = _DRAW.get(kind)
    if draw is None:
        problem = f"a {kind} has no mask: draw a polygon, brush or ellipse in Label Studio"
        return Shape(where, label, None, problem)
    if stored is None:
        raise InputError(f"{where} has no original_width and original_height: {EXPORT}")
    return Shape(where, label, partial(_draw, draw, result.get("value")))


Draw = Callable[[dict[str, Any], Size], Runs]


def _draw(draw: Draw, value: Any, size: Size) -> Runs:
    if not isinstance(value, dict):
        raise ValueError("it has no value")
    return draw(value, size)


def _percent(value: dict[str, Any], key: str, whole: float) -> float:
    (number,) = numbers([value.get(key)])
    return number * whole / 100


def _polygon(value: dict[str, Any], size: Size) -> Runs:
    """Points in percent of the image's size."""
    corners = points(value.get("points"))
    return polygons_to_runs([[v * size[k] / 100 for corner in corners for k, v in enumerate(corner)]], size)


def _ellipse(value: dict[str, Any], size: Size) -> Runs:
    """Centre and radii in percent of width and height; the rotation in degrees, clockwise."""
    centre = _percent(value, "x", size[0]), _percent(value, "y", size[1])
    radii = _percent(value, "radiusX", size[0]), _percent(value, "radiusY", size[1])
    (degrees,) = numbers([value.get("rotation", 0)])
    return ellipse_to_runs(centre, radii, degrees, size)


def _brush(value: dict[str, Any], size: Size) -> Runs:
    """RGBA pixels, packed; the brush is where they are not transparent."""
    if value.get("format") != "rle":
        raise ValueError(f"its format is {reprlib.repr(value.get('format'))}, not rle")
    rle = value.get("rle")
    packed = rle if isinstance(rle, list) else []
    if not packed or not all(type(byte) is int and 0 <= byte < 256 for byte in packed):
        raise ValueError("its rle is not a list of bytes")
    rgba = unpacked(np.array(packed, dtype=np.uint8), 4 * size[0] * size[1])
    return mask_to_runs(rgba.reshape(size[1], size[0], 4)[..., 3] > 0)


def unpacked(packed: NDArray[np.uint8], length: int) -> NDArray[np.uint8]:
    """Decodes the bit-packed run lengths of Label Studio's brush (the npm package @thi.ng/rle-pack).

    A head of 32 bits has the number of values, 5 bits their size less 1, and four times 4 bits the sizes of counts less
    1. Each block begins with a bit, 2 bits that choose a size of counts, and a count less 1; with the bit set one value
    follows, which is repeated, or else as many values as counted.

    Args:
        packed: bytes.
        length: number of values to expect.

    Raises:
        ValueError: they are not that many values of 8 bits, or end too early.
    """
    bits = np.unpackbits(packed)
    place = 0

    def take(count: int) -> int:
        nonlocal place
        if place + count > len(bits):
            raise ValueError("its rle ends too early")
        place += count
        return int("".join(map(str, bits[place - count : place].tolist())), 2)

    found, width = take(32), take(5) + 1
    if found != length or width != 8:
        raise ValueError(f"its rle has {found} values of {width} bits, but the image needs {length} of 8")
    sizes = [take(4) + 1 for _ in range(4)]
    values = np.zeros(length, dtype=np.uint8)
    done = 0
    while done < length:
        is_repeated = take(1)
        count = take(sizes[take(2)]) + 1
        if done + count > length:
            raise ValueError("its rle has too many values")
        if is_repeated:
            values[done : done + count] = take(8)
        else:
            values[done : done + count] = [take(8) for _ in range(count)]
        done += count
    return values


_DRAW: dict[str, Draw] = {"polygon": _polygon, "ellipse": _ellipse, "brush": _brush}
