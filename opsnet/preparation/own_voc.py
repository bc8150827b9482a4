"""Pascal VOC's folders of class and instance PNGs, as VOC, CVAT ("Segmentation mask") and labelme write them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from opsnet.data.conversion import Source
from opsnet.data.panoptic_png import decode_ids
from opsnet.preparation import own_vocabulary
from opsnet.preparation.own_destination import Destination
from opsnet.preparation.own_files import IMAGE_SUFFIXES, files_by_stem, read_lines
from opsnet.preparation.own_masks import (
    MaskReader,
    Pixels,
    opened_map,
    require_same_stems,
    tell_of_joined_things,
    thing_ids,
    void_values,
)
from opsnet.preparation.own_shapes import Label
from opsnet.utils.errors import InputError
from opsnet.vocabulary import Vocabulary

BACKGROUND = ("background", "_background_", "__ignore__")


def prepare_voc(
    folder: Path, to: Destination, *, vocabulary: str | None = None, images: Path | None = None, connected: bool = False
) -> None:
    """Converts SegmentationClass and, if there is one, SegmentationObject.

    Args:
        folder: holds them; labelmap.txt, if it is there, gives the classes' colours.
        to: the set to write.
        vocabulary: meaning of the ids, VOC's 20 classes by default; with labelmap.txt, used to look up its names.
        images: their folder; by default JPEGImages.
        connected: without SegmentationObject, each connected region of a thing class is a segment.

    Raises:
        InputError, DatasetError: a file is missing or invalid.
    """
    labelmap = folder / "labelmap.txt"
    names = read_labelmap(labelmap) if labelmap.is_file() else None
    if names is None:
        classes = to.vocabulary(Vocabulary.load(vocabulary or "voc_20"))
        colours = {colour_code(standard_colour(i)): i for i in range(256)}
    else:
        used: dict[Label, str] = {name: str(labelmap) for name in names if name not in BACKGROUND}
        if vocabulary is None and to.shared.is_file():
            vocabulary = str(to.shared)
        classes = Vocabulary.load(vocabulary) if vocabulary else own_vocabulary.of_labels(used, "labelmap.txt")
        ids = dict(own_vocabulary.label_ids(used, classes, f"the vocabulary {vocabulary}", "labelmap.txt"))
        classes = to.vocabulary(classes)
        colours = {code: ids.get(name, VOID) for name, code in names.items()}
    found, has_objects = sources(folder, images or folder / "JPEGImages", to.set)
    tell_of_joined_things(classes, is_divided=has_objects or connected)
    void = void_values(classes) if names is None else (VOID,)
    things, pairs = thing_ids(classes), tuple(colours.items())
    reader = VocReader(classes.ids, things, void, connected, pairs, palette_shows_colours=names is not None)
    to.write(found, reader, classes)


VOID = -1  # of a labelmap's background, whatever ids the vocabulary has


@dataclass(frozen=True)
class VocReader(MaskReader):
    """Reads class maps that hold ids or the classes' colours, and instance maps.

    Attributes:
        colours: (R + 256 G + 65536 B, category id or void).
        palette_shows_colours: whether also the classes of a palette PNG are told by its colours, not by its indices.
    """

    colours: tuple[tuple[int, int], ...]
    palette_shows_colours: bool

    def classes(self, source: Source) -> Pixels:
        """Category ids (H, W), or void.

        Raises:
            InputError: the map cannot be read, or has an unknown value or colour.
        """
        path = source.labels[0]
        with opened_map(path, source.image) as opened:
            is_coloured = opened.mode in ("RGB", "RGBA") or (opened.mode == "P" and self.palette_shows_colours)
            codes = decode_ids(opened) if is_coloured else None
        if codes is None:
            return super().classes(source)
        meaning = dict(self.colours)
        values, rows = np.unique(codes, return_inverse=True)
        classes = np.array([self._meaning(value, meaning, path) for value in values.tolist()])
        found: Pixels = classes[rows.reshape(codes.shape)]
        return found

    def _meaning(self, code: int, meaning: dict[int, int], path: Path) -> int:
        category = meaning.get(code)
        if category is None or category not in (*self.ids, *self.void):
            colour = f"{code % 256},{code // 256 % 256},{code // 65536}"
            raise InputError(
                f"{path} has the colour {colour}, which no class has: add it to labelmap.txt as name:{colour}::"
            )
        return category


def sources(folder: Path, images: Path, name: str) -> tuple[list[Source], bool]:
    """The images that have a class map, and whether there are instance maps.

    Args:
        folder: holds SegmentationClass.
        images: folder of the images; those without a map are not used.
        name: of the set, whose list in ImageSets/Segmentation is used, if there is any.

    Raises:
        InputError: a file is missing.
    """
    folders = [folder / "SegmentationClass", folder / "SegmentationObject"]
    maps = files_by_stem(folders[0], (".png",))
    chosen = _listed(folder / "ImageSets" / "Segmentation", name)
    if chosen is not None:
        if lost := [stem for stem in chosen if stem not in maps]:
            raise InputError(
                f"{lost[0]!r}, listed in {folder / 'ImageSets' / 'Segmentation'}, has no map in {folders[0]} "
                f"({len(lost)} are missing): complete the folder"
            )
        maps = {stem: maps[stem] for stem in chosen}
    photos = {stem: path for stem, path in files_by_stem(images, IMAGE_SUFFIXES).items() if stem in maps}
    require_same_stems(photos, maps, folders[0], "SegmentationClass")
    has_objects = folders[1].is_dir()
    objects = {s: p for s, p in files_by_stem(folders[1], (".png",)).items() if s in maps} if has_objects else {}
    if has_objects:
        require_same_stems(photos, objects, folders[1], "SegmentationObject")
    found = []
    for stem, path in photos.items():
        labels = (maps[stem], objects[stem]) if has_objects else (maps[stem],)
        found.append(Source(stem, path, path.relative_to(images).as_posix(), f"{stem}.png", labels))
    return found, has_objects


def _listed(folder: Path, name: str) -> list[str] | None:
    """The stems of a set; a single list is used whatever its name."""
    lists = {path.stem: path for path in sorted(folder.glob("*.txt"))}
    if not lists:
        return None
    if name not in lists and len(lists) > 1:
        raise InputError(f"{folder} has no {name}.txt: give --set one of {', '.join(lists)}")
    path = lists.get(name) or next(iter(lists.values()))
    return [stem.strip() for stem in read_lines(path) if stem.strip()]


def read_labelmap(path: Path) -> dict[str, int]:
    """CVAT's labelmap.txt, lines ``name:R,G,B:parts:actions``: name -> R + 256 G + 65536 B.

    Raises:
        InputError: a line is not of this form, or a name or colour occurs twice.
    """
    found: dict[str, int] = {}
    for number, line in enumerate(read_lines(path), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        parts = line.rsplit(":", 3)
        values = parts[1].split(",") if len(parts) == 4 else []
        if (
            len(values) != 3
            or not all(len(v) < 9 and v.strip().isdecimal() and int(v) < 256 for v in values)
            or not parts[0].strip()
        ):
            raise InputError(f"line {number} of {path} is not name:R,G,B:parts:actions: correct it")
        name, code = parts[0].strip(), colour_code(tuple(map(int, values)))
        if name in found or code in found.values():
            raise InputError(f"line {number} of {path} repeats a name or a colour: give each class its own")
        found[name] = code
    if not found.keys() - set(BACKGROUND):
        raise InputError(f"{path} names no class: export it again")
    return found


def colour_code(colour: tuple[int, ...]) -> int:
    """R + 256 G + 65536 B."""
    return colour[0] + 256 * colour[1] + 65536 * colour[2]


def standard_colour(index: int) -> tuple[int, int, int]:
    """VOC's colour of a class or instance: bits 0, 3, 6 of the index from the top of red, 1, 4, 7 of green, ..."""
    channels = [0, 0, 0]
    for bit in range(8):
        channels[bit % 3] |= (index >> bit & 1) << (7 - bit // 3)
    return channels[0], channels[1], channels[2]
