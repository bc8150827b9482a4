"""Converts maps of category ids, with or without maps of instances, to the images of a panoptic set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from opsnet.data.coco_panoptic import SegmentLabel
from opsnet.data.conversion import Source
from opsnet.data.panoptic_png import MAX_ID
from opsnet.preparation.own_files import IMAGE_SUFFIXES, files_by_stem, require_size
from opsnet.utils.errors import InputError

VOID = (0, 255)
Pixels = NDArray[np.int64]


@dataclass(frozen=True)
class MaskReader:
    """Reads a category map and, if there is one, an instance map; a reader for ``convert``.

    Attributes:
        ids: all ids of the vocabulary.
        things: ids of thing classes.
        void: values that are void, even if the vocabulary has them.
        connected: without instance maps, each connected region of a thing class is a segment.
    """

    ids: tuple[int, ...]
    things: tuple[int, ...]
    void: tuple[int, ...]
    connected: bool

    def __call__(self, source: Source) -> tuple[Pixels, list[SegmentLabel]]:
        """Segment ids (H, W) and their labels.

        Raises:
            InputError: a map cannot be read, has another size than its image, or has an unknown value.
        """
        classes = self._classes(source)
        if len(source.labels) > 1:
            instances = _read(source.labels[1], source.image, colours=True)
        elif self.connected:
            instances = self._connected(classes)
        else:
            instances = np.zeros_like(classes)
        return self._segments(classes, instances, crowds=len(source.labels) > 1)

    def _classes(self, source: Source) -> Pixels:
        classes = _read(source.labels[0], source.image, colours=False)
        unknown = set(np.flatnonzero(np.bincount(classes.ravel())).tolist()) - {*self.ids, *self.void}
        if unknown:
            void = ",".join(map(str, sorted({*self.void, min(unknown)})))
            raise InputError(
                f"{source.labels[0]} has the value {min(unknown)}, which is neither a category id of the vocabulary "
                f"nor void: add it to the vocabulary, or give --void {void}"
            )
        return classes

    def _connected(self, classes: Pixels) -> Pixels:
        """Numbers the regions of each thing class; pixels that touch at a corner are connected."""
        numbers = np.zeros_like(classes)
        for category in self.things:
            mask = classes == category
            if mask.any():
                numbers[mask] = ndimage.label(mask, structure=np.ones((3, 3)))[0][mask]
        return numbers

    def _segments(self, classes: Pixels, instances: Pixels, *, crowds: bool) -> tuple[Pixels, list[SegmentLabel]]:
        """A segment for each pair of a thing class and an instance, and for each stuff class."""
        pairs = classes * MAX_ID
        is_thing = np.isin(classes, self.things)
        pairs[is_thing] += instances[is_thing]
        pairs[np.isin(classes, self.void)] = -1
        values, rows = np.unique(pairs, return_inverse=True)
        numbers = np.cumsum(values >= 0) * (values >= 0)
        labels = []
        for number, value in zip(numbers.tolist(), values.tolist(), strict=True):
            category, instance = divmod(value, MAX_ID)
            if number:
                labels.append(SegmentLabel(number, category, crowds and category in self.things and instance == 0))
        return numbers[rows.reshape(pairs.shape)].astype(np.int64), labels


def sources(images: Path, folders: Mapping[str, Path]) -> list[Source]:
    """The images of a folder, each with the PNG of the same stem in each of ``folders`` (option -> folder).

    Raises:
        InputError: an image has no map, or a map has no image.
    """
    paths = files_by_stem(images, IMAGE_SUFFIXES)
    maps = {option: files_by_stem(folder, (".png",)) for option, folder in folders.items()}
    for option, found in maps.items():
        _require_same_stems(paths, found, folders[option], option)
    return [
        Source(stem, path, path.relative_to(images).as_posix(), f"{stem}.png", tuple(m[stem] for m in maps.values()))
        for stem, path in paths.items()
    ]


def _require_same_stems(images: Mapping[str, Path], maps: Mapping[str, Path], folder: Path, what: str) -> None:
    bare, stray = sorted(images.keys() - maps.keys()), sorted(maps.keys() - images.keys())
    if bare:
        raise InputError(
            f"image {images[bare[0]]} has no map {folder / bare[0]}.png ({len(bare)} of {len(images)} images "
            f"have none in {what}): add the maps, or move the images elsewhere"
        )
    if stray:
        raise InputError(
            f"map {maps[stray[0]]} has no image of the same name ({len(stray)} of {len(maps)} maps in {what} have "
            "none): add the images, or move the maps elsewhere"
        )


def _read(path: Path, image: Path, *, colours: bool) -> Pixels:
    """The values of a PNG (H, W); with ``colours`` it may be RGB, which encodes R + 256 G + 65536 B."""
    try:
        with Image.open(path) as opened:
            mode, pixels = opened.mode, np.asarray(opened, dtype=np.int64)
    except OSError as error:
        raise InputError(f"map {path} cannot be read as an image ({error}): replace the file") from error
    require_size(f"map {path}", (pixels.shape[1], pixels.shape[0]), image)
    if mode in ("RGB", "RGBA") and colours:
        numbers: Pixels = pixels[..., :3] @ np.array([1, 256, 65536])
        return numbers
    if pixels.ndim > 2:
        fix = "write R + 256 G + 65536 B as RGB, or" if colours else "write category ids as"
        raise InputError(f"map {path} has colour mode {mode}: {fix} grey values of 8 or 16 bits, or palette indices")
    return pixels
