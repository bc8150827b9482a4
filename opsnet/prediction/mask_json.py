"""Given masks in a json: SAM's records and COCO's, and which of them are of which image."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from opsnet.data.panoptic_records import ImageFile, ImageId, image_id, parse_image
from opsnet.prediction.image_ids import ImageFiles, find_images_of
from opsnet.utils.errors import InputError
from opsnet.utils.json_fields import FieldError


@dataclass(frozen=True)
class MaskJson:
    """Content of a json: records of masks, and the images that it lists, if it lists any."""

    source: Path
    records: list[Any]
    images: list[ImageFile] | None

    @classmethod
    def read(cls, path: Path) -> MaskJson:
        try:
            data = json.loads(path.read_text(encoding="utf-8-sig"))
        except OSError as error:
            raise InputError(f"masks {path} cannot be read ({error.strerror}): check the path") from error
        except (ValueError, RecursionError) as error:
            raise InputError(f"masks {path} is no json ({error}): replace the file") from error
        records = data.get("annotations") if isinstance(data, dict) else data
        if not isinstance(records, list):
            raise InputError(f"masks {path} has no list of masks: give a list, or an object with `annotations`")
        if any(isinstance(record, dict) and "segments_info" in record for record in records[:1]):
            raise InputError(f"masks {path} is a panoptic json, whose masks are in PNGs: give the folder of its PNGs")
        images = data.get("images") if isinstance(data, dict) else None
        try:
            return cls(path, records, None if images is None else [parse_image(image) for image in images])
        except (FieldError, TypeError) as error:
            raise InputError(f"masks {path}: `images` is no list of id and file_name ({error}): correct it") from error

    @property
    def says_which(self) -> bool:
        """Whether it says of which image a mask is."""
        return self.images is not None or any(number is not None for number in self.by_id())

    def by_id(self) -> dict[ImageId | None, list[Any]]:
        """The records by their image's id; all by ``None`` if none has one.

        Raises:
            InputError: an id is invalid, or some have none, which may be of any image.
        """
        found: dict[ImageId | None, list[Any]] = defaultdict(list)
        for number, record in enumerate(self.records):
            value = record.get("image_id") if isinstance(record, dict) else None
            try:
                found[None if value is None else image_id(value)].append(record)
            except TypeError as error:
                raise InputError(
                    f"masks {self.source}: mask {number} has image_id {value!r:.40}, not {error}: correct it"
                ) from error
        if found[None] and (len(found) > 1 or self.images is not None):
            number = next(n for n, record in enumerate(self.records) if record is found[None][0])
            raise InputError(f"masks {self.source}: mask {number} has no image_id, but the file has several: add it")
        return {key: records for key, records in found.items() if records}


def records_of_one(content: MaskJson, image: Path, images: ImageFiles) -> list[Any]:
    """The records of a json with the name of its image.

    Raises:
        InputError: they are of other images.
    """
    if content.images is not None:
        return records_by_image(content, replace(images, of={image: images.of[image]}))[image]
    ids = content.by_id()
    if len(ids) > 1:
        raise InputError(f"masks {content.source} has masks of several images: give this file as masks=FILE")
    only, own = next(iter(ids), None), images.of[image].id
    if only is not None and only != own and not images.are_counted:
        raise InputError(f"masks {content.source} are of image {only}, but {image} is image {own}: correct image_id")
    return content.records


def records_by_image(content: MaskJson, images: ImageFiles) -> dict[Path, list[Any]]:
    """The records of each image, by the names in the json, or else by the image's id.

    Raises:
        InputError: the json does not say which image is which.
    """
    records = content.by_id()
    if content.images is not None:
        of = find_images_of(list(images.of), content.images, content.source)
    elif images.are_counted:
        of = {path: ImageFile(path.stem, path.name) for path in images.of}  # ids may be names
    else:
        of = dict(images.of)
    found = {path: records.get(image.id, []) for path, image in of.items()}
    if content.images is None and not any(found.values()):
        path, image = next(iter(of.items()))
        shown = ", ".join(str(i) for i in list(records)[:3]) + ", ..." * (len(records) > 3)
        own = f"is {image.id}" if not images.are_counted else "is not known"
        raise InputError(
            f"masks {content.source} have the image ids {shown}, and the id of {path.name} {own}: give ids_from=JSON "
            "with the dataset's `images`, or remove image_id from masks of one image"
        )
    return found
