"""LVIS v1 (1,203 classes) as distributed -> COCO's panoptic format, and the json of its instances beside it.

SRC is the folder of COCO with ``train2017`` and ``val2017``, and ``lvis_v1_train.json`` and ``lvis_v1_val.json`` of
https://www.lvisdataset.org/dataset, in it or in its folder ``annotations``. LVIS' validation images are from both of
COCO's folders. DST is data/lvis by default (OPSNET_DATA moves it).

Instances of LVIS overlap, so they are no panoptic map. In the map, smaller ones are in front, those that are covered
altogether are missing, and what belongs to no instance is void: it is there to train with and to look at. Average
precision (instances=true of opsnet-evaluate) reads the instances themselves from a link to LVIS' own json.
"""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from opsnet.data.coco_panoptic_writing import SegmentLabel
from opsnet.data.conversion import Source, convert, link
from opsnet.preparation.arguments import add_source_arguments, require_folder
from opsnet.preparation.lvis_json import CLASSES, load_lvis
from opsnet.preparation.own_shapes import ImageLabels, ShapeReader
from opsnet.utils.errors import DatasetError

SETS = ("train", "val")
WHERE_IMAGES = "unpack {}.zip there, from https://cocodataset.org/#download"
WHERE_JSON = "unpack lvis_v1_{}.json.zip there, from https://www.lvisdataset.org/dataset"


def read_labels(source: Source) -> ImageLabels:
    """The instances of an image, labelled by category id."""
    path, number = source.labels[0], int(source.image_id)
    content = load_lvis(path)
    return ImageLabels(f"image {number} of {path}", content.images[number].size, content.shapes.get(number, ()))


def sources(annotations: Path, coco: Path) -> list[Source]:
    """All images of the json, in its order, also those without an instance: detections there are wrong."""
    found = []
    for number, image in load_lvis(annotations).images.items():
        name = PurePosixPath(image.file_name)
        found.append(Source(number, coco / name, name.name, f"{name.stem}.png", (annotations,)))
    return found


def read(source: Source) -> tuple[NDArray[np.int64], list[SegmentLabel]]:
    """Segment ids (H, W) and their labels."""
    return ShapeReader(read_labels, tuple((i, i) for i in CLASSES.ids), ())(source)


def add_arguments(parser: ArgumentParser) -> None:
    """The command line of ``opsnet-prepare lvis``."""
    add_source_arguments(parser, "lvis", prepare, sets=SETS)


def prepare(src: Path, dst: Path, *, sets: Sequence[str] = SETS, workers: int | None = None) -> None:
    """Converts sets; arguments and errors as of :func:`opsnet.preparation.ade20k.prepare`."""
    require_folder(src)
    for name in sets:
        for folder in ("train2017", "val2017") if name == "val" else ("train2017",):
            require_folder(src / folder, WHERE_IMAGES.format(folder))
        file = f"lvis_v1_{name}.json"
        found = [path for path in (src / file, src / "annotations" / file) if path.is_file()]
        if not found:
            raise DatasetError(f"{src / file} does not exist: {WHERE_JSON.format(name)}")
        convert(
            sources(found[0], src), read, annotations=dst / f"lvis_{name}.json", images=dst / "images" / name,
            categories=CLASSES.categories(), workers=workers,
        )  # fmt: skip
        link(found[0], dst / file)
