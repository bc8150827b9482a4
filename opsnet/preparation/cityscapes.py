"""Cityscapes as distributed -> COCO's panoptic format; panoptic sets have the same files as the official converter's.

SRC holds ``gtFine`` and ``leftImg8bit``, unpacked from gtFine_trainvaltest.zip and leftImg8bit_trainvaltest.zip, for
which you register at https://www.cityscapes-dataset.com. DST is data/cityscapes by default (OPSNET_DATA moves it). The
semantic set has one segment per class, groups of things included, from ``labelIds``.
"""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from opsnet.data.coco_panoptic_writing import SegmentLabel
from opsnet.data.conversion import Reader, Source, convert, one_segment_per_class
from opsnet.preparation.arguments import add_source_arguments, require_folder
from opsnet.vocabulary import Vocabulary

CLASSES = Vocabulary.load("cityscapes")
SETS = ("train", "val")
# Per class, in the order of the vocabulary; only written to the json, as by the official converter.
GROUPS = (
    ["flat"] * 2 + ["construction"] * 3 + ["object"] * 3 + ["nature"] * 2 + ["sky"] + ["human"] * 2 + ["vehicle"] * 6
)
COLOURS = [
    (128, 64, 128), (244, 35, 232), (70, 70, 70), (102, 102, 156), (190, 153, 153), (153, 153, 153), (250, 170, 30),
    (220, 220, 0), (107, 142, 35), (152, 251, 152), (70, 130, 180), (220, 20, 60), (255, 0, 0), (0, 0, 142), (0, 0, 70),
    (0, 60, 100), (0, 80, 100), (0, 0, 230), (119, 11, 32),
]  # fmt: skip


def read_panoptic(source: Source) -> tuple[NDArray[np.int64], list[SegmentLabel]]:
    """``instanceIds``: the class, or 1000 times the class plus a number for single instances."""
    ids = np.array(Image.open(source.labels[0]), dtype=np.int64)
    labels = []
    for value in np.unique(ids).tolist():
        alone = value >= 1000
        index = CLASSES.index_of_id.get(value // 1000 if alone else value)
        if index is None:  # classes that are not evaluated
            ids[ids == value] = 0
        else:
            labels.append(SegmentLabel(value, CLASSES.ids[index], is_crowd=CLASSES.is_thing[index] and not alone))
    return ids, labels


def read_semantic(source: Source) -> tuple[NDArray[np.int64], list[SegmentLabel]]:
    """``labelIds``: the class; those that are not evaluated become void."""
    return one_segment_per_class(np.array(Image.open(source.labels[0]), dtype=np.int64), CLASSES.ids)


KINDS: dict[str, tuple[Reader, str]] = {
    "panoptic": (read_panoptic, "instanceIds"),
    "semantic": (read_semantic, "labelIds"),
}
"""Kind of annotation -> its reader and the files that it reads."""


def sources(root: Path, name: str, kind: str) -> list[Source]:
    """All annotated images of a set, by file name within each city."""
    suffix, found = f"_gtFine_{KINDS[kind][1]}.png", []
    for path in sorted((root / "gtFine" / name).glob(f"*/*{suffix}"), key=str):
        stem = path.name.removesuffix(suffix)
        image = root / "leftImg8bit" / name / path.parent.name / f"{stem}_leftImg8bit.png"
        found.append(Source(stem, image, f"{stem}_gtFine_leftImg8bit.png", f"{stem}_gtFine_{kind}.png", (path,)))
    return found


def categories() -> list[dict[str, Any]]:
    """As in the official json, including colours and groups."""
    return [
        {"id": c.id, "name": c.name, "color": list(colour), "supercategory": group, "isthing": int(c.is_thing)}
        for c, colour, group in zip(CLASSES.concepts, COLOURS, GROUPS, strict=True)
    ]


def add_arguments(parser: ArgumentParser) -> None:
    """The command line of ``opsnet-prepare cityscapes``."""
    add_source_arguments(parser, "cityscapes", prepare, sets=SETS, kinds=tuple(KINDS))


def prepare(
    src: Path, dst: Path, *, sets: Sequence[str] = SETS, kinds: Sequence[str] = tuple(KINDS), workers: int | None = None
) -> None:
    """Converts sets; arguments and errors as of :func:`opsnet.preparation.ade20k.prepare`."""
    require_folder(src)
    for name, kind in product(sets, kinds):
        for folder in ("gtFine", "leftImg8bit"):
            require_folder(
                src / folder / name,
                f"unpack {folder}_trainvaltest.zip there; register at https://www.cityscapes-dataset.com to get it",
            )
        convert(
            sources(src, name, kind), KINDS[kind][0], annotations=dst / f"cityscapes_{kind}_{name}.json",
            images=dst / "images" / name, categories=categories(), workers=workers,
        )  # fmt: skip
