"""Pascal Context (59 or 459 classes) as distributed -> COCO's panoptic format, one segment per class.

SRC holds ``VOCdevkit`` (VOCtrainval_03-May-2010.tar of http://host.robots.ox.ac.uk/pascal/VOC/voc2010) and ``trainval``
(trainval.tar.gz of https://cs.stanford.edu/~roozbeh/pascal-context). DST is data/pascal_context by default (OPSNET_DATA
moves it). The label maps have 459 classes; all except the 59 of the smaller benchmark become void in its set.
"""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.io import loadmat

from opsnet.data.coco_panoptic_writing import SegmentLabel
from opsnet.data.conversion import Reader, Source, convert, one_segment_per_class
from opsnet.preparation.arguments import add_source_arguments, require_folder
from opsnet.utils.errors import DatasetError
from opsnet.vocabulary import Vocabulary

CLASSES = Vocabulary.load("pascal_context")
SETS = ("train", "val")
# The ids of the 59 classes among the 459, in the order of the vocabulary (labels.txt of the distribution).
OF_459 = (
    2, 9, 18, 19, 22, 23, 25, 31, 33, 34, 44, 45, 46, 59, 65, 68, 72, 80, 85, 98, 104, 105, 113, 115, 144, 158, 159,
    162, 187, 189, 207, 220, 232, 258, 259, 260, 284, 295, 296, 308, 324, 326, 347, 349, 354, 355, 360, 366, 368, 397,
    415, 416, 420, 424, 427, 440, 445, 454, 458,
)  # fmt: skip
LARGEST = 459
CATEGORY = np.zeros(LARGEST + 1, np.int64)
CATEGORY[list(OF_459)] = CLASSES.ids
VOC = Path("VOCdevkit", "VOC2010")


def _classes(source: Source) -> NDArray[np.int64]:
    """``LabelMap``: one of 459 classes per pixel, 0 = none."""
    labels: NDArray[np.int64] = loadmat(source.labels[0])["LabelMap"].astype(np.int64)
    if labels.max() > LARGEST:
        raise ValueError(f"its LabelMap has class {labels.max()}, more than {LARGEST}")
    return labels


def read_59(source: Source) -> tuple[NDArray[np.int64], list[SegmentLabel]]:
    """The 59 classes."""
    return one_segment_per_class(CATEGORY[_classes(source)], CLASSES.ids)


def read_459(source: Source) -> tuple[NDArray[np.int64], list[SegmentLabel]]:
    """All classes."""
    return one_segment_per_class(_classes(source), range(1, LARGEST + 1))


KINDS: dict[str, tuple[Reader, str]] = {
    "semantic": (read_59, "pascal_context"),
    "semantic_459": (read_459, "pascal_context_459"),
}
"""Kind of annotation -> its reader and vocabulary."""


def sources(root: Path, name: str) -> list[Source]:
    """The images of a set, as listed by VOC 2010."""
    listed = root / VOC / "ImageSets" / "Main" / f"{name}.txt"
    if not listed.is_file():
        raise DatasetError(f"{listed} does not exist: unpack VOCtrainval_03-May-2010.tar into {root}")
    found = []
    for stem in listed.read_text(encoding="utf-8").split():
        image, labels = root / VOC / "JPEGImages" / f"{stem}.jpg", root / "trainval" / f"{stem}.mat"
        found.append(Source(stem, image, image.name, f"{stem}.png", (labels,)))
    return found


def add_arguments(parser: ArgumentParser) -> None:
    """The command line of ``opsnet-prepare pascal_context``."""
    add_source_arguments(parser, "pascal_context", prepare, sets=SETS, kinds=tuple(KINDS))


def prepare(
    src: Path, dst: Path, *, sets: Sequence[str] = SETS, kinds: Sequence[str] = tuple(KINDS), workers: int | None = None
) -> None:
    """Converts sets; arguments and errors as of :func:`opsnet.preparation.ade20k.prepare`."""
    require_folder(src)
    where = "VOCtrainval_03-May-2010.tar there, from http://host.robots.ox.ac.uk/pascal/VOC/voc2010"
    require_folder(src / "VOCdevkit", f"unpack {where}")
    where = "trainval.tar.gz there, from https://cs.stanford.edu/~roozbeh/pascal-context"
    require_folder(src / "trainval", f"unpack {where}")
    for name, kind in product(sets, kinds):
        read, vocabulary = KINDS[kind]
        convert(
            sources(src, name), read, annotations=dst / f"pascal_context_{kind}_{name}.json",
            images=dst / "images" / name, categories=Vocabulary.load(vocabulary).categories(), workers=workers,
        )  # fmt: skip
