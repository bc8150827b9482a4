"""Converts datasets, public ones or your own, to COCO's panoptic format, which data=NAME reads.

A preparation links the images and writes json and PNGs. It shows its progress, resumes where it was interrupted, and
names the first file that is missing or cannot be read.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from importlib import import_module

from opsnet.preparation import as_distributed
from opsnet.utils.errors import exit_on_user_error

PREPARATIONS = {
    "own": "your own images: COCO instances, CVAT, Label Studio, labelme, YOLO, VOC, masks",
    "ade20k": "ADE20K, SceneParsing release, panoptic and semantic",
    "camvid": "CamVid as SegNet's tutorial distributes it",
    "cityscapes": "Cityscapes panoptic",
    "pascal_context": "Pascal Context, 59 classes",
    "wordnet": "WordNet 3.0 for vocabularies such as wordnet:animal.n.01",
}
"""Modules of :mod:`opsnet.preparation`; only the requested one is imported."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Console entry point; exit code 2 and one sentence if a file is missing or invalid."""
    name, rest = _name(arguments)
    if name in as_distributed.LAYOUTS:
        parser = _parser(f"opsnet-prepare {name}", as_distributed.description(name))
        as_distributed.add_arguments(parser, name)
    else:
        module = import_module(f"opsnet.preparation.{name}")
        parser = _parser(f"opsnet-prepare {name}", module.__doc__)
        module.add_arguments(parser)
    options = vars(parser.parse_args(rest))
    with exit_on_user_error(interrupted="run the same command again to resume"):
        options.pop("run")(**options)


def _name(arguments: Sequence[str] | None) -> tuple[str, list[str]]:
    """The name of the preparation, and its arguments."""
    parser = _parser("opsnet-prepare", __doc__)
    looked_at = {name: layout.about for name, layout in as_distributed.LAYOUTS.items()}
    parser.epilog = (
        f"converted:\n{_listed(PREPARATIONS)}\n\nread as distributed, only looked for:\n{_listed(looked_at)}\n\n"
        "`opsnet-prepare NAME --help` lists the arguments of each."
    )
    parser.add_argument("name", metavar="NAME", choices=[*PREPARATIONS, *looked_at], help="what to prepare, see below")
    parser.add_argument("rest", metavar="...", nargs=argparse.REMAINDER, help="arguments of the preparation")
    options = parser.parse_args(arguments)
    return options.name, options.rest


def _listed(names: Mapping[str, str]) -> str:
    return "\n".join(f"  {name:17} {about}" for name, about in names.items())


def _parser(prog: str, description: str | None) -> argparse.ArgumentParser:
    shape = argparse.RawDescriptionHelpFormatter
    return argparse.ArgumentParser(prog=prog, description=description, formatter_class=shape)


if __name__ == "__main__":
    main()
