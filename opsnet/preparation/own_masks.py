"""Maps of category ids, with or without maps of instances, to a panoptic set."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from opsnet.data.coco_panoptic_writing import SegmentLabel
from opsnet.data.conversion import Source
from opsnet.data.images import require_decodable
from opsnet.data.panoptic_png import MAX_ID, decode_ids
from opsnet.preparation.own_destination import Destination
from opsnet.preparation.own_files import IMAGE_SUFFIXES, files_by_stem, require_size
from opsnet.utils.errors import DatasetError, InputError
from opsnet.vocabulary import Vocabulary

VOID = (0, 255)
Pixels = NDArray[np.int64]


def prepare_masks(
    images: Path, masks: Path, to: Destination, *, vocabulary: str, instances: Path | None = None,
    connected: bool = False, void: Sequence[int] | None = None,
) -> None:  # fmt: skip
    """Converts PNGs of category ids.

    Args:
        images, masks: folders.
        to: the set to write.
        vocabulary: meaning of the ids, see :meth:`Vocabulary.load`.
        instances: folder of PNGs that number the instances of things.
        connected: without instances, each connected region of a thing class is a segment.
        void: values that are void; by default 0 and 255, unless they are ids.

    Raises:
        InputError, DatasetError: a file is missing or invalid.
    """
    classes = to.vocabulary(Vocabulary.load(vocabulary))
    folders = {"MASKS": masks, **({} if instances is None else {"--instances": instances})}
    tell_of_joined_things(classes, is_divided=connected or instances is not None)
    reader = MaskReader(classes.ids, thing_ids(classes), void_values(classes, void), connected)
    to.write(sources(images, folders), reader, classes)


def tell_of_joined_things(classes: Vocabulary, *, is_divided: bool) -> None:
    """Says on stderr that things will not be told apart, if so."""
    if any(classes.is_thing) and not is_divided:
        print("without instances or --connected all things of a class are one segment per image", file=sys.stderr)


def void_values(classes: Vocabulary, void: Sequence[int] | None = None) -> tuple[int, ...]:
    """Values of a map that are void: those given, or else 0 and 255, unless they are ids."""
    return tuple(value for value in VOID if value not in classes.index_of_id) if void is None else tuple(void)


def thing_ids(classes: Vocabulary) -> tuple[int, ...]:
    """Ids of the thing classes."""
    return tuple(c.id for c in classes.concepts if c.is_thing)


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
        classes = self.classes(source)
        if len(source.labels) > 1:
            instances = read_map(source.labels[1], source.image, colours=True)
        elif self.connected:
            instances = self._connected(classes)
        else:
            instances = np.zeros_like(classes)
        return self._segments(classes, instances, crowds=len(source.labels) > 1)

    def classes(self, source: Source) -> Pixels:
        """Category ids (H, W), or void.

        Raises:
            InputError: the map has an unknown value.
        """
        classes = read_map(source.labels[0], source.image, colours=False)
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
        require_same_stems(paths, found, folders[option], option)
    return [
        Source(stem, path, path.relative_to(images).as_posix(), f"{stem}.png", tuple(m[stem] for m in maps.values()))
        for stem, path in paths.items()
    ]


def require_same_stems(images: Mapping[str, Path], maps: Mapping[str, Path], folder: Path, what: str) -> None:
    """Checks that every image has a map and every map an image.

    Args:
        images, maps: path without suffix -> file.
        folder: of the maps.
        what: the option that gave it.

    Raises:
        InputError: one is missing.
    """
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


def read_map(path: Path, image: Path, *, colours: bool) -> Pixels:
    """The values of a PNG (H, W); with ``colours`` it may be RGB, which encodes R + 256 G + 65536 B.

    Raises:
        InputError: it cannot be read, has another size than its image, or is coloured without ``colours``.
    """
    with opened_map(path, image) as opened:
        if colours and opened.mode in ("RGB", "RGBA"):
            return decode_ids(opened).astype(np.int64)
        mode, pixels = opened.mode, np.asarray(opened, dtype=np.int64)
    if pixels.ndim > 2:
        fix = "write R + 256 G + 65536 B as RGB, or" if colours else "write category ids as"
        raise InputError(f"map {path} has colour mode {mode}: {fix} grey values of 8 or 16 bits, or palette indices")
    return pixels


@contextmanager
def opened_map(path: Path, image: Path) -> Iterator[Image.Image]:
    """A map, whose size is compared with its image's before it is decoded: a small file may claim any size.

    Raises:
        InputError: it cannot be read, also in the block, or has another size than its image.
    """
    try:
        with Image.open(path) as opened:
            require_decodable(opened)
            require_size(f"map {path}", opened.size, image)
            yield opened
    except InputError:
        raise
    except DatasetError as error:
        raise InputError(f"map {path} {error}") from None
    except Exception as error:  # Pillow's readers raise whatever their parsing stumbles over, SyntaxError included
        raise InputError(f"map {path} cannot be read as an image ({error}): replace the file") from error
