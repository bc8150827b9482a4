"""ADE20K (SceneParsing release, 150 classes) as distributed -> COCO's panoptic format.

SRC is the folder ADEChallengeData2016 with ``images``, ``annotations`` (ADEChallengeData2016.zip) and
``annotations_instance`` (annotations_instance.tar), both from http://sceneparsing.csail.mit.edu. DST is data/ade20k by
default (OPSNET_DATA moves it). In the panoptic set stuff comes from the class maps and things from the instance maps; a
pixel of a thing without an instance is void. As in Mask2Former's preparation stuff is painted first and things over it,
and the json's areas and boxes are those before: stuff of which nothing is left stays in the json. Published PQ counts
it as a miss, and an IoU with the pixels that things cover; ``covered`` says how many those are. The semantic set is the
class maps alone, one segment a class; it needs no instance maps.
"""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from opsnet.data.coco_panoptic import SegmentLabel
from opsnet.data.conversion import Reader, Source, convert, one_segment_per_class
from opsnet.preparation.arguments import add_source_arguments, require_folder
from opsnet.vocabulary import Vocabulary

CLASSES = Vocabulary.load("ade20k")
# The instance maps number the things alone, 1 to 100, in the order of the 150 classes.
THINGS = [c.id for c in CLASSES.concepts if c.is_thing]
STUFF = {c.id for c in CLASSES.concepts if not c.is_thing}
FOLDERS = {"train": "training", "val": "validation"}
SETS = tuple(FOLDERS)
WHERE = "unpack {} there, from http://sceneparsing.csail.mit.edu"
ARCHIVES = {
    "images": "ADEChallengeData2016.zip",
    "annotations": "ADEChallengeData2016.zip",
    "annotations_instance": "annotations_instance.tar",
}


def read_panoptic(source: Source) -> tuple[NDArray[np.int64], list[SegmentLabel]]:
    """Class map (0 = void, 1..150) and instance map (red: thing 1..100, green: which one; 0, 0 = none)."""
    classes = np.array(Image.open(source.labels[0]), dtype=np.int64)
    instances = np.array(Image.open(source.labels[1]), dtype=np.int64)
    if classes.shape != instances.shape[:2]:
        raise ValueError(f"its size is not that of {source.labels[1]}")
    ids = np.zeros_like(classes)
    labels: list[SegmentLabel] = []

    def paint(mask: NDArray[np.bool_], category: int) -> None:
        labels.append(SegmentLabel(len(labels) + 1, category, mask=mask))
        ids[mask] = len(labels)

    for value in np.unique(classes).tolist():
        if value in STUFF:
            paint(classes == value, value)
    pairs = instances[..., 0] * 256 + instances[..., 1]
    for pair in np.unique(pairs[instances[..., 0] > 0]).tolist():
        paint(pairs == pair, THINGS[pair // 256 - 1])
    return ids, labels


def read_semantic(source: Source) -> tuple[NDArray[np.int64], list[SegmentLabel]]:
    """Class map alone (0 = void, 1..150)."""
    return one_segment_per_class(np.array(Image.open(source.labels[0]), dtype=np.int64), CLASSES.ids)


KINDS: dict[str, tuple[Reader, tuple[str, ...]]] = {
    "panoptic": (read_panoptic, ("annotations", "annotations_instance")),
    "semantic": (read_semantic, ("annotations",)),
}


def sources(root: Path, name: str, folders: tuple[str, ...]) -> list[Source]:
    """All pictures of a set with their maps in ``folders``; the id is the number in the file's name."""
    found = []
    for picture in sorted((root / "images" / FOLDERS[name]).glob("*.jpg")):
        png = f"{picture.stem}.png"
        labels = tuple(root / kind / FOLDERS[name] / png for kind in folders)
        found.append(Source(int(picture.stem.rpartition("_")[2]), picture, picture.name, png, labels))
    return found


def add_arguments(parser: ArgumentParser) -> None:
    """The command line of ``opsnet-prepare ade20k``."""
    add_source_arguments(parser, "ade20k", prepare, sets=SETS, kinds=tuple(KINDS))


def prepare(
    src: Path, dst: Path, *, sets: Sequence[str] = SETS, kinds: Sequence[str] = tuple(KINDS), workers: int | None = None
) -> None:
    """Converts sets; a set whose json is there is left alone.

    Args:
        src: folder of the data set as distributed.
        dst: folder to write.
        sets: of :data:`SETS`.
        kinds: of :data:`KINDS`.
        workers: processes; by default one per core.

    Raises:
        DatasetError: a folder or file is missing or not what it should be.
    """
    require_folder(src)
    for name, kind in product(sets, kinds):
        read, folders = KINDS[kind]
        for folder in ("images", *folders):
            require_folder(src / folder / FOLDERS[name], WHERE.format(ARCHIVES[folder]))
        convert(
            sources(src, name, folders), read, annotations=dst / f"ade20k_{kind}_{name}.json",
            images=dst / "images" / name, categories=CLASSES.categories(), workers=workers,
        )  # fmt: skip
