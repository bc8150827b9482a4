"""Files of given masks: json of SAM or COCO, PNGs of ids, and folders of either.

================== ===================================================================================================
file               content
================== ===================================================================================================
json, a list       masks of one image (SAM's generator), or of several, told apart by ``image_id`` (COCO's results)
json, an object    ``annotations`` with ``images`` (COCO's instances) or with one ``image`` (SA-1B)
png                ids as grey values, palette indices, or R + 256 G + 65536 B; 0 is no mask
folder             for each image a json, a png or a folder of the same name; a folder has a binary png per mask
                   (SAM's ``amg.py``), and may be given itself for one image
================== ===================================================================================================
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from opsnet.data.panoptic_png import decode_ids
from opsnet.prediction.given_masks import GivenMasks, MasksLike, from_id_map, from_memory, from_records, with_scores
from opsnet.prediction.image_ids import ImageFiles, image_files
from opsnet.prediction.mask_folders import is_mask_folder, read_mask_folder
from opsnet.prediction.mask_json import MaskJson, records_by_image, records_of_one
from opsnet.prediction.mask_records import MaskError, Size, require_size
from opsnet.utils.errors import InputError

SUFFIXES = (".json", ".png")


@dataclass(frozen=True)
class MaskFiles:
    """Where the masks of each image are.

    Attributes:
        source: the path that was given.
        images: the images with their ids.
        files: by the image's path: a file, or a folder of binary PNGs, with the masks of that image alone.
        records: by the image's path, if one json has the masks of all images.
    """

    source: Path
    images: ImageFiles
    files: Mapping[Path, Path] = field(default_factory=dict)
    records: Mapping[Path, Sequence[Any]] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """Number of images."""
        return len(self.files) + len(self.records)

    def of(self, image: Path, size: Size) -> GivenMasks:
        """The masks of an image of ``size`` (height, width) in pixels.

        Raises:
            InputError: they cannot be read, or have another size.
        """
        if image in self.records:
            return from_records(self.records[image], size, source=f"{self.source} ({image.name})")
        file = self.files[image]
        if file.is_dir():
            return read_mask_folder(file, size)
        if file.suffix.lower() == ".png":
            return from_id_map(_read_png(file, size), size, source=str(file))
        return from_records(records_of_one(MaskJson.read(file), image, self.images), size, source=str(file))


def read_masks(
    masks: MasksLike, image: Path | None, size: Size, *, scores: Sequence[float] | None = None
) -> GivenMasks:  # fmt: skip
    """Masks in any form: from memory, see :func:`from_memory`, or from a file, in which the image is found by its name.

    Args:
        masks: the masks, or the path of a file.
        image: its path; ``None`` for an image without a name.
        size: (height, width) in pixels of the image.
        scores: replace those of the masks.

    Raises:
        InputError: the masks are invalid.
    """
    if isinstance(masks, GivenMasks):
        return masks
    if not isinstance(masks, (str, PathLike)):
        return from_memory(masks, size, scores=scores)
    path = image or Path("the image, which is not given as a file")
    return with_scores(find_masks(masks, image_files([path])).of(path, size), scores)


def find_masks(path: str | PathLike[str], images: ImageFiles) -> MaskFiles:
    """Finds the masks of images; the pixels of masks are not decoded yet.

    Args:
        path: a file or folder.
        images: the images with their ids.

    Raises:
        InputError: there is no such file, it is none of the forms above, or an image has no masks in it.
    """
    source, paths = Path(path).expanduser(), list(images.of)
    if source.is_dir():
        return MaskFiles(source, images, files=_in_folder(source, paths))
    if source.suffix.lower() not in SUFFIXES:
        raise InputError(f"masks {source} is no .json, .png or folder: give one of them")
    if not source.is_file():
        raise InputError(f"masks {source} does not exist: check the path")
    if source.suffix.lower() == ".json":
        content = MaskJson.read(source)
        if content.says_which:
            return MaskFiles(source, images, records=records_by_image(content, images))
    if len(paths) > 1:
        raise InputError(
            f"masks {source} are of one image, but there are {len(paths)}: give a folder with a file for each"
        )
    return MaskFiles(source, images, files={paths[0]: source})


def _in_folder(folder: Path, images: Sequence[Path]) -> dict[Path, Path]:
    found: dict[str, list[Path]] = defaultdict(list)
    for file in sorted(folder.iterdir()):
        if file.suffix.lower() in SUFFIXES and file.is_file():
            found[file.stem].append(file)
        elif is_mask_folder(file):
            found[file.name].append(file)
    missing = [image for image in images if image.stem not in found]
    if len(missing) == len(images) == 1 and is_mask_folder(folder):
        return {images[0]: folder}
    if missing:
        raise InputError(
            f"masks {folder} has no {missing[0].stem}.json, .png or folder of PNGs for {missing[0]} ({len(missing)} of "
            f"{len(images)} images have none): add them, an empty list [] for an image without masks"
        )
    twice = [found[image.stem] for image in images if len(found[image.stem]) > 1]
    if twice:
        raise InputError(f"masks {folder} has {twice[0][0].name} and {twice[0][1].name}: remove one of them")
    return {image: found[image.stem][0] for image in images}


def _read_png(path: Path, size: Size) -> NDArray[np.int32]:
    """The ids (H, W) of a PNG, which is not decoded if it has another size than (height, width).

    Raises:
        InputError: it cannot be read, has another size, or neither one nor three channels.
    """
    try:
        with Image.open(path) as image:
            require_size(image.size[::-1], size)
            if image.mode in ("RGB", "RGBA"):
                return decode_ids(image)
            mode, pixels = image.mode, np.asarray(image).astype(np.int32)
    except MaskError as error:
        raise InputError(f"masks {path}: the map {error}") from error
    except Exception as error:  # Pillow's readers raise whatever their parsing stumbles over
        raise InputError(f"masks {path} cannot be read as an image ({error}): replace the file") from error
    if pixels.ndim != 2:
        raise InputError(f"masks {path} has mode {mode}: save ids as grey values of 8 or 16 bits, palette or RGB")
    return pixels
