"""Pascal VOC's folders, as ``opsnet-prepare own voc`` reads them."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from random import Random

import numpy as np

from opsnet.preparation.own_voc import prepare_voc
from scripts.fuzz import converted, seeds
from scripts.fuzz.cases import Case
from scripts.fuzz.mutation import damaged_text, mutated_png
from scripts.fuzz.yolo import changed_words

NAMES = converted.NAMES
LABELMAP = "# label:color_rgb:parts:actions\nbackground:0,0,0::\ncat:1,0,0::\nsky:2,0,0::\n"


def case(seed: int) -> Case:
    """Class and instance maps of one image, with or without CVAT's labelmap.txt and a list of images."""
    rng = Random(seed)
    classes, objects = np.zeros((8, 8)), np.zeros((8, 8))
    classes[:4], classes[4:], objects[:4, :3] = 1, 2, 1
    files = {"JPEGImages/a.png": seeds.photo(), "SegmentationClass/a.png": seeds.png_of(classes)}
    if rng.random() < 0.6:
        colours = np.stack([classes, np.zeros((8, 8)), np.zeros((8, 8))], axis=-1)
        files |= {"labelmap.txt": LABELMAP.encode(), "SegmentationClass/a.png": seeds.png_of(colours)}
    if rng.random() < 0.5:
        files["SegmentationObject/a.png"] = seeds.png_of(objects)
    if rng.random() < 0.3:
        files["ImageSets/Segmentation/train.txt"] = b"a\n"
    name = rng.choice(sorted(files))
    if name.endswith(".png"):
        files[name] = mutated_png(rng, files[name])
    else:
        text = files[name].decode()
        files[name] = damaged_text(rng, text) if rng.random() < 0.3 else changed_words(rng, text).encode()
    return Case(files, {"connected": rng.random() < 0.3})


def run(given: Case, folder: Path) -> None:
    """Converts the set and reads it back."""
    Case({f"in/{name}": content for name, content in given.files.items()}).write(folder)
    converted.convert(partial(prepare_voc, folder / "in", **given.arguments), folder)
