"""The ids and file names under which predictions are written: the dataset's, so that they can be scored against it."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from opsnet.data.coco_panoptic import PanopticJson
from opsnet.data.panoptic_records import ImageFile
from opsnet.utils.errors import InputError
from opsnet.utils.paths import user_path

LARGEST = 2**53
"""Ids below it are exact in every reader of json."""


@dataclass(frozen=True)
class ImageFiles:
    """The id and file name of each image of a prediction.

    Attributes:
        of: by the image's path.
        note: where the ids come from, one line for the user.
        are_counted: whether the ids are only a count, which no dataset knows.
    """

    of: Mapping[Path, ImageFile]
    note: str
    are_counted: bool = False


def image_files(paths: Sequence[Path], ids_from: str | Path | None = None) -> ImageFiles:
    """Chooses the id and file name of each image.

    Args:
        paths: the images, in order; none for images that have no file, such as a video's frames, which are counted.
        ids_from: a json with COCO's ``images`` (id, file_name), of which those of the same names are taken. ``None``:
            the ids are the numbers that are the file names, if all are (``000000039769.jpg``: 39769), else 0, 1, ...;
            and the file names are relative to the folder that contains all images.

    Raises:
        InputError: ``ids_from`` cannot be read, lacks an image, or has several that an image may be.
    """
    if ids_from is not None:
        source = user_path(ids_from)
        listed = [ImageFile(*image) for image in PanopticJson(source).images().items()]
        return ImageFiles(find_images_of(paths, listed, source), f"image ids are those of {source}")
    if not paths:
        return ImageFiles({}, "", are_counted=True)
    names, counted = _relative(paths), list(range(len(paths)))
    numbers = [int(p.stem) for p in paths if p.stem.isascii() and p.stem.isdigit()]
    if len(set(numbers)) == len(paths) and max(numbers, default=0) < LARGEST:
        note = "image ids are the numbers in the file names"
    else:
        numbers = counted
        note = f"image ids are 0 to {len(paths) - 1}: for opsnet-score give ids_from=JSON of the ground truth"
    of = {p: ImageFile(number, name) for p, number, name in zip(paths, numbers, names, strict=True)}
    return ImageFiles(of, note, are_counted=numbers is counted)


def _relative(paths: Sequence[Path]) -> list[str]:
    """File names relative to the folder that contains all of them."""
    full = [Path(os.path.abspath(path)) for path in paths]
    folder = os.path.commonpath([path.parent for path in full])
    return [path.relative_to(folder).as_posix() for path in full]


def find_images_of(paths: Sequence[Path], listed: Iterable[ImageFile], source: Path) -> dict[Path, ImageFile]:
    """The image that each path is: the one of its name, among several the one with the most folders in common.

    Without one of its name, one of its stem is taken, as images may have been converted.

    Args:
        paths: of images.
        listed: the images of a json.
        source: its path, for messages.

    Raises:
        InputError: an image is not listed, or it is not clear which one it is.
    """
    listed = [ImageFile(i, name.replace("\\", "/")) for i, name in listed]
    by_name, by_stem = defaultdict(list), defaultdict(list)
    for image in listed:
        by_name[PurePosixPath(image.file_name).name].append(image)
        by_stem[PurePosixPath(image.file_name).stem].append(image)
    missing = [p for p in paths if p.name not in by_name and p.stem not in by_stem]
    if missing:
        raise InputError(
            f"image {missing[0]} is not in `images` of {source} ({len(missing)} of {len(paths)} are not; it lists "
            f"{', '.join(image.file_name for image in listed[:2])}, ...): give ids_from=JSON of these images, or none"
        )
    found: dict[Path, ImageFile] = {}
    owners: dict[int | str, Path] = {}
    for path in paths:
        image = _nearest(path, by_name.get(path.name) or by_stem[path.stem], source)
        other = owners.setdefault(image.id, path)
        if other != path:
            raise InputError(f"{other} and {path} are both image {image.id} of {source}: leave one of them out")
        found[path] = image
    return found


def _nearest(path: Path, candidates: Sequence[ImageFile], source: Path) -> ImageFile:
    folders = Path(os.path.abspath(path)).parts[-2::-1]
    common = [_equal_parts(folders, PurePosixPath(image.file_name).parts[-2::-1]) for image in candidates]
    best = [image for image, count in zip(candidates, common, strict=True) if count == max(common)]
    if len(best) > 1:
        raise InputError(
            f"image {path} may be {best[0].file_name} or {best[1].file_name} of {source}: "
            "keep the images in the folders of the json"
        )
    return best[0]


def _equal_parts(a: Sequence[str], b: Sequence[str]) -> int:
    """How many parts from the first on are equal."""
    unequal = (i for i, (x, y) in enumerate(zip(a, b)) if x != y)
    return next(unequal, min(len(a), len(b)))
