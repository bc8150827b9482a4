"""ADE20K (SceneParsing release, 150 classes) as distributed -> COCO's panoptic format.

SRC is the folder ADEChallengeData2016 with ``images``, ``annotations`` (ADEChallengeData2016.zip) and
``annotations_instance`` (annotations_instance.tar), both from http://sceneparsing.csail.mit.edu. DST is data/ade20k by
default (OPSNET_DATA moves it). In the panoptic set, stuff comes from the class maps and things from the instance maps;
thing pixels without an instance are void. As in Mask2Former's preparation, stuff is painted first and things over it,
but areas and boxes in the json are those before things cover stuff, and stuff that is covered completely stays in the
json. Published PQ counts the latter as missed, and computes IoUs with the covered pixels included; ``covered`` is their
number. The semantic set consists of the class maps only, one segment per class, and needs no instance maps.
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
from opsnet.vocabulary import Vocabulary

CLASSES = Vocabulary.load("ade20k")
# The instance maps number only the things, 1 to 100, in the order of the 150 classes.
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
    """Class map (0 = void, 1..150) and instance map (red: thing class 1..100, green: instance; 0, 0 = none)."""
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
    """Class map only (0 = void, 1..150)."""
    return one_segment_per_class(np.array(Image.open(source.labels[0]), dtype=np.int64), CLASSES.ids)


KINDS: dict[str, tuple[Reader, tuple[str, ...]]] = {
    "panoptic": (read_panoptic, ("annotations", "annotations_instance")),
    "semantic": (read_semantic, ("annotations",)),
}


def sources(root: Path, name: str, folders: tuple[str, ...]) -> list[Source]:
    """All images of a set with their maps in ``folders``; the id is the number in the file name."""
    found = []
    for image in sorted((root / "images" / FOLDERS[name]).glob("*.jpg")):
        png = f"{image.stem}.png"
        labels = tuple(root / kind / FOLDERS[name] / png for kind in folders)
        found.append(Source(int(image.stem.rpartition("_")[2]), image, image.name, png, labels))
    return found


def add_arguments(parser: ArgumentParser) -> None:
    """The command line of ``opsnet-prepare ade20k``."""
    add_source_arguments(parser, "ade20k", prepare, sets=SETS, kinds=tuple(KINDS))


def prepare(
    src: Path, dst: Path, *, sets: Sequence[str] = SETS, kinds: Sequence[str] = tuple(KINDS), workers: int | None = None
) -> None:
    """Converts sets; sets whose json exists are skipped.

    Args:
        src: folder of the dataset as distributed.
        dst: folder to write.
        sets: of :data:`SETS`.
        kinds: of :data:`KINDS`.
        workers: processes; by default one per core.

    Raises:
        DatasetError: a folder or file is missing or invalid.
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
