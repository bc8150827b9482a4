"""COCO-Stuff 164k (171 classes) as distributed -> COCO's panoptic format, one segment per class.

SRC is the folder of COCO with ``train2017`` and ``val2017``, and ``stuffthingmaps`` with the folders of the same names
from stuffthingmaps_trainval2017.zip of https://github.com/nightrome/cocostuff (also found as ``annotations`` or
``stuffthingmaps_trainval2017``). DST is data/coco_stuff by default (OPSNET_DATA moves it). The pixels of a map are the
classes' numbers less one, 255 = unlabelled.
"""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from opsnet.data.coco_panoptic_writing import SegmentLabel
from opsnet.data.conversion import Source, convert, one_segment_per_class
from opsnet.preparation.arguments import add_source_arguments, require_folder
from opsnet.vocabulary import Vocabulary

CLASSES = Vocabulary.load("coco_stuff_171")
FOLDERS = {"train": "train2017", "val": "val2017"}
SETS = tuple(FOLDERS)
MAPS = ("stuffthingmaps", "stuffthingmaps_trainval2017", "annotations")
UNLABELLED = 255
WHERE_IMAGES = "unpack {}.zip there, from https://cocodataset.org/#download"
WHERE_MAPS = "unpack stuffthingmaps_trainval2017.zip into {}, from https://github.com/nightrome/cocostuff"


def read(source: Source) -> tuple[NDArray[np.int64], list[SegmentLabel]]:
    """A map of the classes' numbers less one."""
    values = np.array(Image.open(source.labels[0]), dtype=np.int64)
    classes = np.where(values == UNLABELLED, 0, values + 1)
    unknown = sorted(set(np.unique(classes).tolist()) - {0, *CLASSES.ids})
    if unknown:
        raise ValueError(f"it has value {unknown[0] - 1}, which is none of the 171 classes")
    return one_segment_per_class(classes, CLASSES.ids)


def sources(images: Path, maps: Path) -> list[Source]:
    """All maps of a set with their images; the id is the number in the file name."""
    found = []
    for path in sorted(maps.glob("*.png")):
        image = images / f"{path.stem}.jpg"
        image_id = int(path.stem) if path.stem.isdecimal() else path.stem
        found.append(Source(image_id, image, image.name, path.name, (path,)))
    return found


def add_arguments(parser: ArgumentParser) -> None:
    """The command line of ``opsnet-prepare coco_stuff``."""
    add_source_arguments(parser, "coco_stuff", prepare, sets=SETS)


def prepare(src: Path, dst: Path, *, sets: Sequence[str] = SETS, workers: int | None = None) -> None:
    """Converts sets; arguments and errors as of :func:`opsnet.preparation.ade20k.prepare`."""
    require_folder(src)
    for name in sets:
        folder = FOLDERS[name]
        require_folder(src / folder, WHERE_IMAGES.format(folder))
        maps = next((src / m / folder for m in MAPS if (src / m / folder).is_dir()), src / MAPS[0] / folder)
        require_folder(maps, WHERE_MAPS.format(src / MAPS[0]))
        convert(
            sources(src / folder, maps), read, annotations=dst / f"coco_stuff_{name}.json",
            images=dst / "images" / name, categories=CLASSES.categories(), workers=workers,
        )  # fmt: skip
