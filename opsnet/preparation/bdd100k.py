"""BDD100K panoptic (40 classes) as distributed -> COCO's panoptic format.

SRC is the folder bdd100k with ``images/10k`` and ``labels/pan_seg/bitmasks`` (10K Images, Panoptic Segmentation), for
which you register at https://bdd-data.berkeley.edu. DST is data/bdd100k by default (OPSNET_DATA moves it). The red of a
bitmask is the class, 0 = unlabelled; green has the attributes, of which bit 1 is a crowd and bit 0 a segment to ignore,
both crowd here; blue and alpha number the instances. All pixels of a stuff class are one segment.
"""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from opsnet.data.coco_panoptic_writing import SegmentLabel
from opsnet.data.conversion import Source, convert
from opsnet.preparation.arguments import add_source_arguments, require_folder
from opsnet.vocabulary import Vocabulary

CLASSES = Vocabulary.load("bdd100k")
IS_THING = {c.id: c.is_thing for c in CLASSES.concepts}
SETS = ("train", "val")
CROWD_OR_IGNORED = 0b11
PARTS = (Path("images", "10k"), Path("labels", "pan_seg", "bitmasks"))
WHERE = "unpack 10K Images and Panoptic Segmentation there; register at https://bdd-data.berkeley.edu to get them"


def read(source: Source) -> tuple[NDArray[np.int64], list[SegmentLabel]]:
    """RGBA: class, attributes, and the instance in two bytes."""
    pixels = np.array(Image.open(source.labels[0]), dtype=np.int64)
    if pixels.ndim != 3 or pixels.shape[2] != 4:
        raise ValueError("it is not an RGBA image: take `bitmasks`, not `colormaps`")
    classes, attributes, instances = pixels[..., 0], pixels[..., 1], pixels[..., 2] * 256 + pixels[..., 3]
    unknown = sorted(set(np.unique(classes).tolist()) - {0, *CLASSES.ids})
    if unknown:
        raise ValueError(f"it has class {unknown[0]}, more than {max(CLASSES.ids)}")
    things = np.isin(classes, [k for k, is_thing in IS_THING.items() if is_thing])
    parts = classes * 2**16 + np.where(things, instances, 0)
    values, ids, counts = np.unique(np.where(classes, parts, 0), return_inverse=True, return_counts=True)
    ids = ids.reshape(parts.shape) + bool(values[0])  # 0 is that of unlabelled pixels
    crowd = np.bincount(ids[(attributes & CROWD_OR_IGNORED) > 0], minlength=len(values) + 1)
    labels: list[SegmentLabel] = []
    for value, count in zip(values.tolist(), counts.tolist(), strict=True):
        if value:
            number = len(labels) + 1
            labels.append(SegmentLabel(number, value // 2**16, is_crowd=bool(crowd[number] == count)))
    return ids, labels


def sources(root: Path, name: str) -> list[Source]:
    """All annotated images of a set."""
    images, labels = (root / part / name for part in PARTS)
    found = []
    for path in sorted(labels.glob("*.png")):
        image = images / f"{path.stem}.jpg"
        found.append(Source(path.stem, image, image.name, path.name, (path,)))
    return found


def add_arguments(parser: ArgumentParser) -> None:
    """The command line of ``opsnet-prepare bdd100k``."""
    add_source_arguments(parser, "bdd100k", prepare, sets=SETS)


def prepare(src: Path, dst: Path, *, sets: Sequence[str] = SETS, workers: int | None = None) -> None:
    """Converts sets; arguments and errors as of :func:`opsnet.preparation.ade20k.prepare`."""
    require_folder(src)
    for name in sets:
        for part in PARTS:
            require_folder(src / part / name, WHERE)
        convert(
            sources(src, name), read, annotations=dst / f"bdd100k_panoptic_{name}.json", images=dst / "images" / name,
            categories=CLASSES.categories(), workers=workers,
        )  # fmt: skip
