"""Your own pictures and labels -> COCO's panoptic format, to train on and to evaluate with.

Usage:
  python scripts/prepare_own.py masks IMAGES MASKS --vocabulary FILE --set train [--instances FOLDER | --connected]
  python scripts/prepare_own.py coco IMAGES JSON --set train
  python scripts/prepare_own.py labelme FOLDER --set train

Writes DST/panoptic_<set>.json, its PNGs in DST/panoptic_<set>, links to the pictures in DST/images/<set>, and
DST/vocabulary.json, which all sets of DST share. DST is data/own by default (OPSNET_DATA moves it). Run it once a set;
``prepare_own.py KIND --help`` says more of each kind.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import own_coco
import own_labelme
import own_masks
import own_vocabulary

from opsnet.data.conversion import Reader, Source, convert
from opsnet.utils.errors import exit_on_user_error
from opsnet.utils.files import write_json
from opsnet.vocabulary import Vocabulary

MASKS = """PNGs of category ids, one a picture, found by the picture's name without suffix, in subfolders too.

Stuff is one segment a class and picture. So are things, unless you say more: the map alone does not tell two cats from
one. --instances names PNGs in which each thing has its number (0 = none; grey, a palette, or RGB as R + 256 G +
65536 B); pixels of a thing class without a number are crowd, which neither trains nor counts, and an instance that has
pixels of two classes is one segment in each. --connected makes each connected region of a thing class a segment: right
where things neither touch nor are cut in two by what is in front, and not the default, because elsewhere it invents
things."""
OVERLAP = """Where shapes overlap, the smaller one lies in front, of two alike the later one, and crowd behind
everything; what nothing is seen of is dropped. The shapes of a stuff class are one segment."""
COCO = f"""A json of instances, as of COCO's detection sets: polygons or run lengths, plain or compressed, and iscrowd.

Categories are things unless the json says isthing 0 or you give --stuff. A picture of the json without annotations
stays in the set, all void.

{OVERLAP}"""
LABELME = f"""labelme's jsons and the pictures that they name, in subfolders too.

The labels become the vocabulary, by name, with ids from 1, or are looked up in --vocabulary or in the vocabulary.json
that DST has. Polygons, rectangles, circles and masks count; shapes of one label and group_id are one segment; the
labels __ignore__ and _background_ are void. Pictures without json are left out, a json without shapes is a picture all
void.

{OVERLAP}"""
Plan = tuple[list[Source], Reader, Vocabulary]


def main(words: Sequence[str] | None = None) -> None:
    """Converts one set."""
    with exit_on_user_error():
        _convert(_arguments(words))


def _convert(options: argparse.Namespace) -> None:
    shared = options.dst / own_vocabulary.SHARED
    sources, reader, vocabulary = options.plan(options)
    convert(
        sources, reader, annotations=options.dst / f"panoptic_{options.set}.json",
        images=options.dst / "images" / options.set, categories=vocabulary.categories(), workers=options.workers,
        recipe=f"{reader} {sources[0]} {vocabulary.categories()}",
    )  # fmt: skip
    if not shared.is_file():  # only now, so that a vocabulary that did not fit can be replaced
        write_json(shared, {"categories": vocabulary.categories()})
    things = sum(vocabulary.is_thing)
    print(f"{options.set}: {len(sources)} pictures; {shared}: {things} things, {len(vocabulary) - things} stuff")


def _masks(options: argparse.Namespace) -> Plan:
    vocabulary = _shared_vocabulary(Vocabulary.load(options.vocabulary), options)
    things = tuple(c.id for c in vocabulary.concepts if c.is_thing)
    folders = {"MASKS": options.masks}
    if options.instances is not None:
        folders["--instances"] = options.instances
    elif things and not options.connected:
        print("without --instances or --connected all things of a class are one segment a picture", file=sys.stderr)
    void = options.void
    if void is None:
        void = [value for value in own_masks.VOID if value not in vocabulary.index_of_id]
    reader = own_masks.MaskReader(vocabulary.ids, things, tuple(void), options.connected)
    return own_masks.sources(options.images, folders), reader, vocabulary


def _coco(options: argparse.Namespace) -> Plan:
    vocabulary = own_coco.vocabulary(options.annotations)
    if options.vocabulary is not None:
        given = Vocabulary.load(options.vocabulary)
        own_coco.require_same_ids(vocabulary, given, options.annotations)
        vocabulary = given
    vocabulary = _shared_vocabulary(vocabulary, options)
    reader = own_coco.CocoReader(vocabulary.ids, own_vocabulary.stuff_ids(vocabulary))
    return own_coco.sources(options.images, options.annotations), reader, vocabulary


def _labelme(options: argparse.Namespace) -> Plan:
    sources, labels = own_labelme.scan(options.folder)
    spec, there = options.vocabulary, options.dst / own_vocabulary.SHARED
    if spec is None and there.is_file():
        spec = str(there)
    vocabulary = own_labelme.vocabulary(labels) if spec is None else Vocabulary.load(spec)
    ids = own_labelme.label_ids(labels, vocabulary, f"the vocabulary {spec}")
    vocabulary = _shared_vocabulary(vocabulary, options)
    return sources, own_labelme.LabelmeReader(ids, own_vocabulary.stuff_ids(vocabulary)), vocabulary


def _shared_vocabulary(vocabulary: Vocabulary, options: argparse.Namespace) -> Vocabulary:
    vocabulary = own_vocabulary.with_kinds(vocabulary, stuff=options.stuff, things=options.things)
    return own_vocabulary.shared(vocabulary, options.dst / own_vocabulary.SHARED)


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_subparsers(required=True, metavar="KIND", help="masks, coco or labelme")
    masks = _kind(kinds, "masks", MASKS, _masks)
    masks.add_argument("images", type=Path, metavar="IMAGES", help="folder of the pictures")
    masks.add_argument("masks", type=Path, metavar="MASKS", help="folder of the PNGs of category ids")
    _add_common(masks, "what the ids mean: a .json or .txt file, or a packaged vocabulary's name", required=True)
    instances = masks.add_mutually_exclusive_group()
    instances.add_argument("--instances", type=Path, metavar="FOLDER", help="PNGs that tell things apart")
    instances.add_argument("--connected", action="store_true", help="each connected region of a thing class is one")
    void = "values that say nothing, by default 0,255 as far as these are no ids of the vocabulary"
    masks.add_argument("--void", type=_numbers, metavar="ID,ID", help=void)
    coco = _kind(kinds, "coco", COCO, _coco)
    coco.add_argument("images", type=Path, metavar="IMAGES", help="folder of the pictures")
    coco.add_argument("annotations", type=Path, metavar="JSON", help="json of images, annotations and categories")
    _add_common(coco, "in place of the json's categories, with the same ids")
    labelme = _kind(kinds, "labelme", LABELME, _labelme)
    labelme.add_argument("folder", type=Path, metavar="FOLDER", help="folder of the jsons and pictures")
    _add_common(labelme, "where the labels are looked up")
    return parser.parse_args(words)


def _kind(kinds: Any, name: str, description: str, plan: Callable[[argparse.Namespace], Plan]) -> ArgumentParser:
    shape = argparse.RawDescriptionHelpFormatter
    parser: ArgumentParser = kinds.add_parser(name, description=description, formatter_class=shape)
    parser.set_defaults(plan=plan)
    return parser


def _add_common(parser: ArgumentParser, vocabulary: str, *, required: bool = False) -> None:
    default = Path(os.environ.get("OPSNET_DATA", "data")) / "own"
    parser.add_argument("--set", type=_set, required=True, help="a name such as train, val or test")
    parser.add_argument("--vocabulary", required=required, metavar="FILE", help=vocabulary)
    for kind in ("stuff", "things"):
        parser.add_argument(f"--{kind}", type=_names, default=[], metavar="NAME,NAME", help=f"classes that are {kind}")
    parser.add_argument("--dst", type=Path, default=default, help=f"folder to write, {default} by default")
    parser.add_argument("--workers", type=int, help="processes, by default one a core")


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _numbers(text: str) -> list[int]:
    return [int(number) for number in _names(text)]


def _set(text: str) -> str:
    if not re.fullmatch(r"\w[\w.-]*", text):
        raise argparse.ArgumentTypeError(f"'{text}' is no name for a file: use letters, digits, - and _")
    return text


if __name__ == "__main__":
    main()
