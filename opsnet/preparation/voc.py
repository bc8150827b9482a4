"""PASCAL VOC 2012 (20 classes, or 21 with the background) as distributed -> COCO's panoptic format.

SRC holds ``VOC2012`` or ``VOCdevkit/VOC2012`` (VOCtrainval_11-May-2012.tar of
http://host.robots.ox.ac.uk/pascal/VOC/voc2012). DST is data/voc by default (OPSNET_DATA moves it). There is one segment
per class. The pixels of a class map are 0 = background, 1..20, and 255 = void, the objects' outlines. The background is
void in voc_20 and a class in voc_21.
"""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from opsnet.data.coco_panoptic_writing import SegmentLabel
from opsnet.data.conversion import Reader, Source, convert, one_segment_per_class
from opsnet.preparation.arguments import add_source_arguments, require_folder
from opsnet.utils.errors import DatasetError
from opsnet.vocabulary import Vocabulary

SETS = ("train", "val")
OBJECTS = range(1, 21)
VOID = 255
WHERE = "unpack VOCtrainval_11-May-2012.tar there, from http://host.robots.ox.ac.uk/pascal/VOC/voc2012"


def _classes(source: Source) -> NDArray[np.int64]:
    """The class map, whose palette is ignored."""
    classes = np.array(Image.open(source.labels[0]), dtype=np.int64)
    if classes.ndim != 2:
        raise ValueError("it has colours in place of class numbers: take SegmentationClass as distributed")
    unknown = sorted(set(np.unique(classes).tolist()) - {0, VOID, *OBJECTS})
    if unknown:
        raise ValueError(f"it has value {unknown[0]}, which is no class of VOC")
    return classes


def read_objects(source: Source) -> tuple[NDArray[np.int64], list[SegmentLabel]]:
    """The 20 classes; the background is void."""
    return one_segment_per_class(_classes(source), OBJECTS)


def read_all(source: Source) -> tuple[NDArray[np.int64], list[SegmentLabel]]:
    """The 20 classes and the background, category 0; ids of segments begin with 1."""
    ids, labels = one_segment_per_class(_classes(source) + 1, (1, *(k + 1 for k in OBJECTS)))
    return ids, [SegmentLabel(label.id, label.category_id - 1) for label in labels]


KINDS: dict[str, Reader] = {"voc_20": read_objects, "voc_21": read_all}
"""Vocabulary -> its reader."""


def sources(root: Path, name: str) -> list[Source]:
    """The images of a set of VOC's segmentation challenge."""
    listed = root / "ImageSets" / "Segmentation" / f"{name}.txt"
    if not listed.is_file():
        raise DatasetError(f"{listed} does not exist: {WHERE}")
    found = []
    for stem in listed.read_text(encoding="utf-8").split():
        image, png = root / "JPEGImages" / f"{stem}.jpg", f"{stem}.png"
        found.append(Source(stem, image, image.name, png, (root / "SegmentationClass" / png,)))
    return found


def add_arguments(parser: ArgumentParser) -> None:
    """The command line of ``opsnet-prepare voc``."""
    add_source_arguments(parser, "voc", prepare, sets=SETS, kinds=tuple(KINDS))


def prepare(
    src: Path, dst: Path, *, sets: Sequence[str] = SETS, kinds: Sequence[str] = tuple(KINDS), workers: int | None = None
) -> None:
    """Converts sets; arguments and errors as of :func:`opsnet.preparation.ade20k.prepare`."""
    require_folder(src)
    roots = [src / part for part in ("VOCdevkit/VOC2012", "VOC2012", ".")]
    root = next((path for path in roots if (path / "ImageSets").is_dir()), roots[0])
    require_folder(root, WHERE)
    for name, kind in product(sets, kinds):
        convert(
            sources(root, name), KINDS[kind], annotations=dst / f"{kind}_{name}.json", images=dst / "images" / name,
            categories=Vocabulary.load(kind).categories(), workers=workers,
        )  # fmt: skip
