"""Your own images and labels -> COCO's panoptic format, to train on and to evaluate with.

  opsnet-prepare own masks IMAGES MASKS --vocabulary FILE --set train [--instances FOLDER | --connected]
  opsnet-prepare own coco IMAGES JSON --set train
  opsnet-prepare own labelme FOLDER --set train

Writes DST/panoptic_<set>.json, its PNGs in DST/panoptic_<set>, links to the images in DST/images/<set>, and
DST/vocabulary.json, which all sets of DST share. DST is data/own by default (OPSNET_DATA moves it). Run it once per
set; ``opsnet-prepare own KIND --help`` describes each kind.
"""

from __future__ import annotations

import argparse
import re
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from opsnet.data.conversion import Reader, Source, convert
from opsnet.preparation import own_coco, own_labelme, own_masks, own_vocabulary
from opsnet.preparation.arguments import add_workers, data_folder
from opsnet.utils.files import write_json
from opsnet.vocabulary import Vocabulary

MASKS = """PNGs of category ids, one per image, found by the image's name without suffix, in subfolders too.

Stuff is one segment per class and image. So are things by default, because the map does not distinguish instances.
--instances gives PNGs in which each instance has a number (0 = none; grey, a palette, or RGB as R + 256 G + 65536 B);
pixels of a thing class without a number are crowd, which is ignored in training and evaluation, and an instance with
pixels of two classes is one segment in each. --connected makes each connected region of a thing class a segment. It is
not the default, because it gives wrong instances if they touch or are split by something in front of them."""
OVERLAP = """Where shapes overlap, the smaller one is in front, the later one if they have the same size, and crowd is
behind everything; shapes that are covered completely are dropped. The shapes of a stuff class are one segment."""
COCO = f"""A json of instances, as in COCO's detection sets: polygons or run lengths, plain or compressed, and iscrowd.

Categories are things unless the json has isthing 0 or you give --stuff. Images in the json without annotations stay in
the set and are void everywhere.

{OVERLAP}"""
LABELME = f"""labelme's jsons and the images that they name, in subfolders too.

The labels become the vocabulary, sorted by name, with ids from 1, or are looked up in --vocabulary or in an existing
DST/vocabulary.json. Polygons, rectangles, circles and masks are supported; shapes with the same label and group_id are
one segment; the labels __ignore__ and _background_ are void. Images without json are skipped; the image of a json
without shapes is void everywhere.

{OVERLAP}"""


@dataclass(frozen=True)
class Destination:
    """Where a set is written, and the vocabulary that it shares with the other sets there.

    Attributes:
        set: its name, such as train.
        dst: the folder that all sets with this vocabulary share.
        stuff, things: names of classes that are stuff or things regardless of their source.
        workers: processes; by default one per core.
    """

    set: str
    dst: Path
    stuff: Sequence[str] = ()
    things: Sequence[str] = ()
    workers: int | None = None

    @property
    def shared(self) -> Path:
        """The file of the shared vocabulary."""
        return self.dst / own_vocabulary.SHARED

    def vocabulary(self, found: Vocabulary) -> Vocabulary:
        """The shared vocabulary, which must contain all of ``found``.

        Raises:
            InputError: it does not.
        """
        return own_vocabulary.shared(
            own_vocabulary.with_kinds(found, stuff=self.stuff, things=self.things), self.shared
        )

    def write(self, sources: Sequence[Source], reader: Reader, vocabulary: Vocabulary) -> None:
        """Converts the images and prints what was written."""
        convert(
            sources, reader, annotations=self.dst / f"panoptic_{self.set}.json",
            images=self.dst / "images" / self.set, categories=vocabulary.categories(), workers=self.workers,
            recipe=f"{reader} {sources[0]} {vocabulary.categories()}",
        )  # fmt: skip
        if not self.shared.is_file():  # only now, so that a wrong vocabulary can be replaced
            write_json(self.shared, {"categories": vocabulary.categories()})
        things = sum(vocabulary.is_thing)
        print(f"{self.set}: {len(sources)} images; {self.shared}: {things} things, {len(vocabulary) - things} stuff")


def prepare_masks(
    images: Path, masks: Path, to: Destination, *, vocabulary: str, instances: Path | None = None,
    connected: bool = False, void: Sequence[int] | None = None,
) -> None:  # fmt: skip
    """Converts PNGs of category ids.

    Args:
        images, masks: folders.
        to: the set to write.
        vocabulary: meaning of the ids, see :meth:`Vocabulary.load`.
        instances: folder of PNGs that number the instances of things.
        connected: without instances, each connected region of a thing class is a segment.
        void: values that are void; by default 0 and 255, unless they are ids.

    Raises:
        InputError, DatasetError: a file is missing or invalid.
    """
    classes = to.vocabulary(Vocabulary.load(vocabulary))
    things = tuple(c.id for c in classes.concepts if c.is_thing)
    folders = {"MASKS": masks}
    if instances is not None:
        folders["--instances"] = instances
    elif things and not connected:
        print("without --instances or --connected all things of a class are one segment per image", file=sys.stderr)
    if void is None:
        void = [value for value in own_masks.VOID if value not in classes.index_of_id]
    reader = own_masks.MaskReader(classes.ids, things, tuple(void), connected)
    to.write(own_masks.sources(images, folders), reader, classes)


def prepare_coco(images: Path, annotations: Path, to: Destination, *, vocabulary: str | None = None) -> None:
    """Converts a COCO json of instances.

    Args:
        images: folder.
        annotations: the json.
        to: the set to write.
        vocabulary: replaces the json's categories, with the same ids.

    Raises:
        InputError, DatasetError: a file is missing or invalid.
    """
    classes = own_coco.vocabulary(annotations)
    if vocabulary is not None:
        given = Vocabulary.load(vocabulary)
        own_coco.require_same_ids(classes, given, annotations)
        classes = given
    classes = to.vocabulary(classes)
    reader = own_coco.CocoReader(classes.ids, own_vocabulary.stuff_ids(classes))
    to.write(own_coco.sources(images, annotations), reader, classes)


def prepare_labelme(folder: Path, to: Destination, *, vocabulary: str | None = None) -> None:
    """Converts labelme's jsons.

    Args:
        folder: of the jsons and their images.
        to: the set to write.
        vocabulary: used to look up the labels; by default that of ``to``, if it exists.

    Raises:
        InputError, DatasetError: a file is missing or invalid.
    """
    sources, labels = own_labelme.scan(folder)
    if vocabulary is None and to.shared.is_file():
        vocabulary = str(to.shared)
    classes = own_labelme.vocabulary(labels) if vocabulary is None else Vocabulary.load(vocabulary)
    ids = own_labelme.label_ids(labels, classes, f"the vocabulary {vocabulary}")
    classes = to.vocabulary(classes)
    to.write(sources, own_labelme.LabelmeReader(ids, own_vocabulary.stuff_ids(classes)), classes)


def add_arguments(parser: ArgumentParser) -> None:
    """The command line of ``opsnet-prepare own``."""
    kinds = parser.add_subparsers(required=True, metavar="KIND", help="masks, coco or labelme")
    masks = _kind(kinds, "masks", prepare_masks, MASKS)
    masks.add_argument("images", type=Path, metavar="IMAGES", help="folder of the images")
    masks.add_argument("masks", type=Path, metavar="MASKS", help="folder of the PNGs of category ids")
    _add_common(masks, "meaning of the ids: a .json or .txt file, or the name of a packaged vocabulary", required=True)
    instances = masks.add_mutually_exclusive_group()
    instances.add_argument("--instances", type=Path, metavar="FOLDER", help="PNGs that number the instances of things")
    instances.add_argument("--connected", action="store_true", help="each connected region is an instance")
    void = "values that are void, by default 0,255 unless the vocabulary has these ids"
    masks.add_argument("--void", type=_numbers, metavar="ID,ID", help=void)
    coco = _kind(kinds, "coco", prepare_coco, COCO)
    coco.add_argument("images", type=Path, metavar="IMAGES", help="folder of the images")
    coco.add_argument("annotations", type=Path, metavar="JSON", help="json of images, annotations and categories")
    _add_common(coco, "replaces the json's categories, with the same ids")
    labelme = _kind(kinds, "labelme", prepare_labelme, LABELME)
    labelme.add_argument("folder", type=Path, metavar="FOLDER", help="folder of the jsons and images")
    _add_common(labelme, "used to look up the labels")


def _kind(kinds: Any, name: str, prepare: Callable[..., None], description: str) -> ArgumentParser:
    shape = argparse.RawDescriptionHelpFormatter
    parser: ArgumentParser = kinds.add_parser(name, description=description, formatter_class=shape)
    parser.set_defaults(run=partial(_run, prepare))
    return parser


def _run(
    prepare: Callable[..., None], *, set: str, dst: Path, stuff: Sequence[str], things: Sequence[str],
    workers: int | None, **given: Any,
) -> None:  # fmt: skip
    """Calls ``prepare`` with the arguments of its command line."""
    prepare(to=Destination(set, dst, stuff, things, workers), **given)


def _add_common(parser: ArgumentParser, vocabulary: str, *, required: bool = False) -> None:
    default = data_folder("own")
    parser.add_argument("--set", type=_set, required=True, help="a name such as train, val or test")
    parser.add_argument("--vocabulary", required=required, metavar="FILE", help=vocabulary)
    for kind in ("stuff", "things"):
        parser.add_argument(f"--{kind}", type=_names, default=[], metavar="NAME,NAME", help=f"classes that are {kind}")
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
