"""Your own images and labels -> COCO's panoptic format, to train on and to evaluate with.

  opsnet-prepare own coco IMAGES JSON --set train            COCO instances: CVAT, Roboflow, Label Studio, ...
  opsnet-prepare own cvat IMAGES XML --set train             CVAT for images 1.1
  opsnet-prepare own label_studio IMAGES JSON --set train    Label Studio's own json
  opsnet-prepare own labelme FOLDER --set train              labelme
  opsnet-prepare own yolo DATA.YAML --set train              YOLO polygons
  opsnet-prepare own voc FOLDER --set train                  SegmentationClass and SegmentationObject
  opsnet-prepare own masks IMAGES MASKS --vocabulary FILE --set train [--instances FOLDER | --connected]

Writes DST/panoptic_<set>.json, its PNGs in DST/panoptic_<set>, links to the images in DST/images/<set>, and
DST/vocabulary.json, which all sets of DST share. DST is data/own by default (OPSNET_DATA moves it). Run it once per
set; `opsnet-prepare own KIND --help` describes each kind.
"""

from __future__ import annotations

import argparse
import re
from argparse import ArgumentParser
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from opsnet.preparation.arguments import add_workers, data_folder
from opsnet.preparation.own_coco import prepare_coco
from opsnet.preparation.own_cvat import prepare_cvat
from opsnet.preparation.own_destination import Destination
from opsnet.preparation.own_label_studio import prepare_label_studio
from opsnet.preparation.own_labelme import prepare_labelme
from opsnet.preparation.own_masks import prepare_masks
from opsnet.preparation.own_voc import prepare_voc
from opsnet.preparation.own_yolo import prepare_yolo

MASKS = """PNGs of category ids, one per image, found by the image's name without suffix, in subfolders too.

Stuff is one segment per class and image. So are things by default, because the map does not distinguish instances.
--instances gives PNGs in which each instance has a number (0 = none; grey, a palette, or RGB as R + 256 G + 65536 B);
pixels of a thing class without a number are crowd, which is ignored in training and evaluation, and an instance with
pixels of two classes is one segment in each. --connected makes each connected region of a thing class a segment. It is
not the default, because it gives wrong instances if they touch or are split by something in front of them."""
VOC = """FOLDER/SegmentationClass and, if there is one, FOLDER/SegmentationObject, with images in FOLDER/JPEGImages.

The PNGs hold palette indices or VOC's colours: 0 (background) and 255 are void, as in VOC. With a labelmap.txt, which
CVAT writes ("Segmentation mask 1.1"), classes are told by their colours, and its names become the vocabulary. Without
it the ids are those of --vocabulary. The list FOLDER/ImageSets/Segmentation/<set>.txt chooses images, if it exists.
Without SegmentationObject things are told apart as in `opsnet-prepare own masks`."""
OVERLAP = """Where shapes overlap, the smaller one is in front, the later one if they have the same size, and crowd is
behind everything; shapes that are covered completely are dropped. The shapes of a stuff class are one segment."""
NAMES = """The labels become the vocabulary, with ids from 1, or are looked up in --vocabulary or in an existing
DST/vocabulary.json."""
COCO = f"""A json of instances, as in COCO's detection sets: polygons or run lengths, plain or compressed, and iscrowd.

CVAT, Roboflow, Label Studio and many others export it. Categories are things unless the json has isthing 0 or you give
--stuff; Roboflow's root category is left out. Images in the json without annotations stay in the set and are void
everywhere. Windows separators are read; where file_name has other folders than IMAGES, give --by-name. CVAT exports
brush masks as crowd, which is ignored in training and evaluation: give --crowd instances for these.

{OVERLAP}"""
CVAT = f"""CVAT's XML ("CVAT for images 1.1") with polygons, masks and ellipses; z_order decides what is in front.

{NAMES} Shapes with the same label and group_id are one segment. Images without shapes are void everywhere.

Within one z_order: {OVERLAP[0].lower() + OVERLAP[1:]}"""
LABEL_STUDIO = f"""Label Studio's json (export "JSON") with polygons, brushes and ellipses.

Images are found by the name of the file alone, with and without the prefix that an upload gives it. {NAMES} Tasks that
nobody annotated are skipped; an image without shapes is void everywhere.

{OVERLAP}"""
LABELME = f"""labelme's jsons and the images that they name, in subfolders too.

{NAMES} Polygons, rectangles, oriented rectangles, circles and masks are supported; shapes with the same label and
group_id are one segment; the labels __ignore__ and _background_ are void. Images without json are skipped; the image of
a json without shapes is void everywhere. An image that is only inside its json (imageData) is written to
DST/images/<set>.

{OVERLAP}"""
YOLO = f"""Ultralytics' segmentation sets: data.yaml, or a folder with images/ and labels/.

Each row of a text file is a class and a polygon relative to the image's size. The names are those of data.yaml or of
classes.txt; without these, class n is the n-th name of --vocabulary, from 0. {NAMES} An image without text file is void
everywhere.

{OVERLAP}"""


def add_arguments(parser: ArgumentParser) -> None:
    """The command line of ``opsnet-prepare own``."""
    kinds = parser.add_subparsers(
        required=True, metavar="KIND", help="coco, cvat, label_studio, labelme, yolo, voc or masks"
    )
    _add_coco(kinds)
    _add_cvat(kinds)
    label_studio = _kind(kinds, "label_studio", prepare_label_studio, LABEL_STUDIO)
    _add_images_and(label_studio, "json", "the exported json")
    _add_common(label_studio, "used to look up the labels", shapes=True)
    labelme = _kind(kinds, "labelme", prepare_labelme, LABELME)
    labelme.add_argument("folder", type=Path, metavar="FOLDER", help="folder of the jsons and images")
    _add_common(labelme, "used to look up the labels", shapes=True)
    yolo = _kind(kinds, "yolo", prepare_yolo, YOLO)
    yolo.add_argument("src", type=Path, metavar="SRC", help="data.yaml, or the folder that holds images/ and labels/")
    _add_common(yolo, "used to look up the names, or names of the classes", shapes=True)
    voc = _kind(kinds, "voc", prepare_voc, VOC)
    voc.add_argument("folder", type=Path, metavar="FOLDER", help="holds SegmentationClass")
    voc.add_argument("--images", type=Path, metavar="FOLDER", help="the images, by default FOLDER/JPEGImages")
    voc.add_argument("--connected", action="store_true", help="each connected region is an instance")
    _add_common(voc, "meaning of the ids, VOC's 20 classes by default; used to look up labelmap.txt's names")
    _add_masks(kinds)


def _add_coco(kinds: Any) -> None:
    parser = _kind(kinds, "coco", prepare_coco, COCO)
    _add_images_and(parser, "json", "json of images, annotations and categories")
    crowd = "keep: as the json has it; instances: each crowd annotation is an instance"
    parser.add_argument("--crowd", choices=("keep", "instances"), help=crowd)
    _add_by_name(parser)
    _add_common(parser, "replaces the json's categories, with the same ids", shapes=True)


def _add_cvat(kinds: Any) -> None:
    parser = _kind(kinds, "cvat", prepare_cvat, CVAT)
    _add_images_and(parser, "xml", "annotations.xml of the export")
    _add_by_name(parser)
    _add_common(parser, "used to look up the labels", shapes=True)


def _add_masks(kinds: Any) -> None:
    parser = _kind(kinds, "masks", prepare_masks, MASKS)
    parser.add_argument("images", type=Path, metavar="IMAGES", help="folder of the images")
    parser.add_argument("masks", type=Path, metavar="MASKS", help="folder of the PNGs of category ids")
    _add_common(parser, "meaning of the ids: a .json or .txt file, or the name of a packaged vocabulary", required=True)
    instances = parser.add_mutually_exclusive_group()
    instances.add_argument("--instances", type=Path, metavar="FOLDER", help="PNGs that number the instances of things")
    instances.add_argument("--connected", action="store_true", help="each connected region is an instance")
    void = "values that are void, by default 0,255 unless the vocabulary has these ids"
    parser.add_argument("--void", type=_numbers, metavar="ID,ID", help=void)


def _kind(kinds: Any, name: str, prepare: Callable[..., None], description: str) -> ArgumentParser:
    shape = argparse.RawDescriptionHelpFormatter
    parser: ArgumentParser = kinds.add_parser(name, description=description, formatter_class=shape)
    parser.set_defaults(run=partial(_run, prepare))
    return parser


def _run(
    prepare: Callable[..., None], *, set: str, dst: Path, stuff: Sequence[str], things: Sequence[str],
    workers: int | None, skip_damaged: bool, **given: Any,
) -> None:  # fmt: skip
    """Calls ``prepare`` with the arguments of its command line."""
    prepare(to=Destination(set, dst, stuff, things, workers, skip_damaged), **given)


def _add_images_and(parser: ArgumentParser, suffix: str, annotations: str) -> None:
    parser.add_argument("images", type=Path, metavar="IMAGES", help="folder of the images")
    parser.add_argument("annotations", type=Path, metavar=suffix.upper(), help=annotations)


def _add_by_name(parser: ArgumentParser) -> None:
    by_name = "find images by the name of the file alone, without folders and Label Studio's upload prefix"
    parser.add_argument("--by-name", action="store_true", help=by_name)


def _add_common(parser: ArgumentParser, vocabulary: str, *, required: bool = False, shapes: bool = False) -> None:
    default = data_folder("own")
    parser.add_argument("--set", type=_set, required=True, help="a name such as train, val or test")
    parser.add_argument("--vocabulary", required=required, metavar="FILE", help=vocabulary)
    for kind in ("stuff", "things"):
        parser.add_argument(f"--{kind}", type=_names, default=[], metavar="NAME,NAME", help=f"classes that are {kind}")
    if shapes:
        skip = "leave out annotations without a mask (boxes, points, lines), whose pixels become void"
        parser.add_argument("--skip-without-mask", action="store_true", help=skip)
    damaged = "leave out images whose file or label is damaged; by default the set is refused after all are read"
    parser.add_argument("--skip-damaged", action="store_true", help=damaged)
    parser.add_argument("--dst", type=Path, default=default, help=f"folder to write, {default} by default")
    add_workers(parser)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _numbers(text: str) -> list[int]:
    return [int(number) for number in _names(text)]


def _set(text: str) -> str:
    if not re.fullmatch(r"\w[\w.-]*", text):
        raise argparse.ArgumentTypeError(f"'{text}' is not a valid file name: use letters, digits, - and _")
    return text
