"""Shared by all preparations: common arguments, and the error about a missing folder."""

from __future__ import annotations

import os
from argparse import ArgumentParser
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from opsnet.utils.errors import DatasetError


def add_source_arguments(
    parser: ArgumentParser, dataset: str, run: Callable[..., Any], *, sets: Sequence[str],
    kinds: Sequence[str] | None = None,
) -> None:  # fmt: skip
    """Adds the arguments of ``run``: ``src``, ``dst``, ``sets``, ``kinds`` if given, and ``workers``."""
    parser.set_defaults(run=run)
    parser.add_argument("src", type=Path, metavar="SRC", help="folder of the dataset as distributed")
    default = data_folder(dataset)
    help_of_dst = f"folder to write, {default} by default"
    parser.add_argument("dst", type=Path, metavar="DST", nargs="?", default=default, help=help_of_dst)
    parser.add_argument("--sets", nargs="+", choices=sets, default=list(sets), help="all by default")
    if kinds:
        parser.add_argument(
            "--kinds", nargs="+", choices=kinds, default=list(kinds), help="of annotation, all by default"
        )
    add_workers(parser)


def add_workers(parser: ArgumentParser) -> None:
    """Adds ``workers``."""
    parser.add_argument("--workers", type=int, metavar="N", help="processes, by default one per core")


def data_folder(dataset: str) -> Path:
    """The folder that ``data=<dataset>`` reads."""
    return Path(os.environ.get("OPSNET_DATA", "data")) / dataset


def require_folder(folder: Path, fix: str = "give the folder into which you unpacked the dataset") -> None:
    """Checks that a folder exists.

    Raises:
        DatasetError: it does not; the message includes ``fix``.
    """
    if not folder.is_dir():
        raise DatasetError(f"folder {folder} does not exist: {fix}")
