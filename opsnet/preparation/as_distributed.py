"""Datasets that are read as distributed: nothing is converted, but a look says which of their files are missing."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from opsnet.preparation.arguments import data_folder
from opsnet.utils.errors import DatasetError


@dataclass(frozen=True)
class Part:
    """A file or folder of a dataset.

    Attributes:
        paths: relative to the dataset's folder; one of them is enough.
        archive: where it comes from.
        unpacked: whether its archives are unpacked there.
    """

    paths: tuple[str, ...]
    archive: str
    unpacked: bool = True


@dataclass(frozen=True)
class Layout:
    """What a dataset consists of.

    Attributes:
        about: one line for the list of preparations.
        parts: set -> its parts.
        made_of: other names of ``opsnet-prepare``, if the dataset only combines these.
        note: said in place of a check if there is nothing to look for.
    """

    about: str
    parts: dict[str, tuple[Part, ...]]
    made_of: tuple[str, ...] = ()
    note: str = ""


def _coco(name: str) -> tuple[Part, ...]:
    where = "from https://cocodataset.org/#download"
    return (
        Part((name,), f"{name}.zip {where}"),
        Part((f"annotations/panoptic_{name}.json",), f"panoptic_annotations_trainval2017.zip {where}"),
        Part((f"annotations/panoptic_{name}",), f"panoptic_{name}.zip, inside panoptic_annotations_trainval2017.zip"),
    )


def _mapillary(name: str) -> tuple[Part, ...]:
    where = "the archive of 1.2 or 2.0 from https://www.mapillary.com/dataset/vistas"
    panoptic = tuple(f"{name}/{release}panoptic/panoptic_2018.json" for release in ("", "v1.2/"))
    return Part((f"{name}/images",), where), Part(panoptic, where)


_HUB = (
    "the files of https://huggingface.co/datasets/timm/imagenet-w21-wds (hf download timm/imagenet-w21-wds "
    "--repo-type dataset --local-dir FOLDER)"
)

LAYOUTS = {
    "coco": Layout("COCO panoptic 2017", {"train": _coco("train2017"), "val": _coco("val2017")}),
    "mapillary_vistas": Layout(
        "Mapillary Vistas 1.2 or 2.0 (data.release=v1.2/)",
        {"train": _mapillary("training"), "val": _mapillary("validation")},
    ),
    "imagenet": Layout(
        "ImageNet-Val, whose labels come with timm",
        {"val": (Part(("val",), "ILSVRC2012_img_val.tar from https://image-net.org, with or without class folders"),)},
    ),
    "imagenet21k": Layout(
        "ImageNet-21K in WebDataset shards",
        {"train": tuple(Part((name,), _HUB, unpacked=False) for name in ("_info.json", "imagenet_w21-train-0000.tar"))},
    ),
    "scenes": Layout("the synthetic world", {}, note="it is drawn on first use"),
    "scenes_plus": Layout("the synthetic world with image labels", {}, note="it is drawn on first use"),
    "ade20k_semantic": Layout("ADE20K's class maps", {}, made_of=("ade20k",)),
    "cityscapes_semantic": Layout("Cityscapes' class maps", {}, made_of=("cityscapes",)),
    "pascal_context_459": Layout("Pascal Context's 459 classes", {}, made_of=("pascal_context",)),
    "voc_20": Layout("VOC's 20 classes", {}, made_of=("voc",)),
    "voc_21": Layout("VOC's 20 classes and the background", {}, made_of=("voc",)),
    "coco_imagenet": Layout("COCO and ImageNet-Val, for OPSNet+", {}, made_of=("coco", "imagenet")),
    "coco_imagenet21k": Layout("COCO and ImageNet-21K, for OPSNet+", {}, made_of=("coco", "imagenet21k")),
    "own_coco": Layout("your own images, tested on COCO too", {}, made_of=("own", "coco")),
    "real": Layout(
        "COCO, tested on all datasets of the paper", {}, made_of=("coco", "ade20k", "cityscapes", "pascal_context")
    ),
    "real_plus": Layout(
        "real with ImageNet-Val", {}, made_of=("coco", "imagenet", "ade20k", "cityscapes", "pascal_context")
    ),
}
"""Name of a data group -> its files."""


def description(name: str) -> str:
    """The help text of ``opsnet-prepare NAME``: what it needs and where."""
    layout = LAYOUTS[name]
    first = f"{layout.about}: nothing to prepare"
    if layout.made_of:
        commands = ", ".join(f"`opsnet-prepare {other}`" for other in layout.made_of)
        return f"{layout.about}: nothing of its own to prepare. data={name} reads the files of {commands}."
    if layout.note:
        return f"{first}, {layout.note}."
    rows = [f"  {' or '.join(part.paths)}\n      {part.archive}" for parts in layout.parts.values() for part in parts]
    return f"{first}, data={name} reads the files as distributed. Says which are missing in FOLDER:\n\n" + "\n".join(
        rows
    )


def add_arguments(parser: ArgumentParser, name: str) -> None:
    """The command line of ``opsnet-prepare NAME`` for a name in :data:`LAYOUTS`."""
    parser.set_defaults(run=partial(check, name))
    default, sets = data_folder(name), list(LAYOUTS[name].parts)
    if sets:
        about = f"the unpacked dataset, {default} by default"
        parser.add_argument("folder", type=Path, metavar="FOLDER", nargs="?", default=default, help=about)
        parser.add_argument("--sets", nargs="+", choices=sets, default=sets, help="all by default")


def check(name: str, *, folder: Path | None = None, sets: Sequence[str] | None = None) -> None:
    """Says that there is nothing to convert, after a look at the files.

    Args:
        name: of :data:`LAYOUTS`.
        folder: the unpacked dataset; by default where ``data=NAME`` reads it.
        sets: of the dataset; all by default.

    Raises:
        DatasetError: a file is missing; the message names the first, and where to get it.
    """
    layout = LAYOUTS[name]
    if not layout.parts:
        print(description(name))
        return
    folder = data_folder(name) if folder is None else folder
    parts = [part for key in sets or layout.parts for part in layout.parts[key]]
    missing = [part for part in parts if not any((folder / path).exists() for path in part.paths)]
    if missing:
        path = " or ".join(str(folder / option) for option in missing[0].paths)
        raise DatasetError(
            f"{path} does not exist ({len(missing)} of {len(parts)} parts are missing): put {missing[0].archive} "
            f"there{', unpacked' if missing[0].unpacked else ''}; `opsnet-prepare {name} --help` lists all"
        )
    elsewhere = "" if folder == data_folder(name) else f" data.root={folder}"
    print(f"nothing to prepare: data={name}{elsewhere} reads {folder} as it is. Check every file with")
    print(f"  opsnet-doctor data={name}{elsewhere}")
