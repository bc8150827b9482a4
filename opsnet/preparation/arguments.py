"""What the preparations share: their arguments, and what is said of a folder that is not there."""

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
    """Adds ``src``, ``dst``, ``sets``, ``kinds`` if there are some, and ``workers``, the arguments of ``run``."""
    parser.set_defaults(run=run)
    parser.add_argument("src", type=Path, metavar="SRC", help="folder of the data set as distributed")
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
    """Where ``data=<dataset>`` looks."""
    return Path(os.environ.get("OPSNET_DATA", "data")) / dataset


def require_folder(folder: Path, fix: str = "give the folder into which you unpacked the data set") -> None:
    """Refuses a folder that is missing.

    Raises:
        DatasetError: it is; the message says ``fix``.
    """
    if not folder.is_dir():
        raise DatasetError(f"folder {folder} does not exist: {fix}")
