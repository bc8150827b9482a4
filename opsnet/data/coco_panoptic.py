"""The reader of COCO's panoptic json (Kirillov et al. 2019; https://cocodataset.org/#format-data).

The json holds ``images`` (id, file_name), ``annotations`` (image_id, file_name of the PNG, segments_info with id,
category_id and optionally iscrowd and area) and ``categories`` (id, name, isthing). Single records are checked in
:mod:`opsnet.data.panoptic_records`; the PNG is handled in :mod:`opsnet.data.panoptic_png`. The writer is
:mod:`opsnet.data.coco_panoptic_writing`.
"""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from opsnet.data.panoptic_records import (
    Annotation,
    Category,
    ImageId,
    parse_annotation,
    parse_category,
    parse_image,
    repeated,
)
from opsnet.utils.errors import DatasetError
from opsnet.utils.json_fields import FieldError, field, items
from opsnet.utils.json_stream import Entry, stream_json
from opsnet.utils.structured_files import FileError, read_json

T = TypeVar("T")


def load_json(path: Path) -> dict[str, Any]:
    """Reads a json object from a file.

    Raises:
        FieldError: the file is missing, unreadable, malformed, or not an object; the message continues after the path.
    """
    try:
        data = read_json(path)
    except FileError as error:
        raise FieldError(str(error)) from error
    if not isinstance(data, dict):
        raise FieldError(f"holds a {type(data).__name__}, not COCO's panoptic format: convert it to an object")
    return data


def stream_panoptic(path: Path) -> Iterator[Entry]:
    """The parts of a panoptic json, the entries of ``images`` and ``annotations`` one at a time.

    Raises:
        DatasetError: the file is missing or damaged, or not an object.
    """
    try:
        yield from stream_json(path, ("images", "annotations"), what="COCO's panoptic format")
    except FileError as error:
        raise DatasetError(f"{path} {error}") from error


class PanopticJson:
    """A panoptic json; its lists are validated lazily, when they are accessed.

    Args:
        path: the json file.
        data: its content, if already loaded.

    Raises:
        DatasetError: the file is not a json object.
    """

    def __init__(self, path: Path, *, data: Mapping[str, Any] | None = None) -> None:
        self.path = path
        try:
            self._data = load_json(path) if data is None else data
        except FieldError as error:
            raise DatasetError(f"{path} {error}") from error

    def __contains__(self, key: str) -> bool:
        return key in self._data

    def images(self) -> dict[ImageId, str]:
        """The image file names by id.

        Raises:
            DatasetError: an entry is invalid, or an id occurs twice.
        """
        images = list(self._parsed(parse_image, "images"))
        if twice := repeated(image.id for image in images):
            raise DatasetError(f"{self.path}: 'images' has id {twice[0]} twice: give each image its own id")
        return dict(images)

    def categories(self) -> tuple[Category, ...]:
        """The categories, in order.

        Raises:
            DatasetError: an entry is invalid, or an id occurs twice.
        """
        categories = tuple(self._parsed(parse_category, "categories"))
        if twice := repeated(category.id for category in categories):
            raise DatasetError(f"{self.path}: 'categories' has id {twice[0]} twice: give each category its own id")
        return categories

    def annotations(self) -> Iterator[Annotation]:
        """Yields the annotations of ground truth.

        For large files see :mod:`opsnet.data.panoptic_columns` and :mod:`opsnet.data.panoptic_index`.

        Raises:
            DatasetError: an entry is invalid, or an image is annotated twice.
        """
        seen: set[ImageId] = set()

        def parse(record: Any) -> Annotation:
            annotation = parse_annotation(record)
            require_new(annotation.image_id, seen)
            return annotation

        return self._parsed(parse, "annotations")

    def _parsed(self, parse: Callable[[Any], T], key: str) -> Iterator[T]:
        try:
            records = field(self._data, key, items)
        except FieldError as error:
            raise DatasetError(f"{self.path}: {error}") from error
        for number, record in enumerate(records):
            yield parse_entry(self.path, key, number, record, parse)


def require_new(image_id: ImageId, seen: set[ImageId]) -> None:
    """Adds the image of an annotation to those that were ``seen``.

    Raises:
        FieldError: it is among them.
    """
    if image_id in seen:
        raise FieldError(f"annotates image {image_id} twice: remove one of the two")
    seen.add(image_id)


def parse_entry(path: Path, key: str, number: int, record: Any, parse: Callable[[Any], T]) -> T:
    """Parses entry ``number`` of a list of the json at ``path``.

    Raises:
        DatasetError: it is invalid; the message names the file, the entry and its image.
    """
    try:
        return parse(record)
    except FieldError as error:
        place = f"{key}[{number}]"
        if isinstance(record, dict) and "image_id" in record:
            place += f" (image {reprlib.repr(record['image_id'])})"
        raise DatasetError(f"{path}: {place}: {error}") from error
