"""What the preparation scripts share: their arguments, and what is said of a folder that is not there."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from opsnet.utils.errors import DatasetError


def arguments(
    description: str | None, dataset: str, *, sets: list[str], kinds: list[str] | None = None,
    words: Sequence[str] | None,
) -> argparse.Namespace:  # fmt: skip
    """``src``, ``dst``, ``sets``, ``kinds`` if there are some, and ``workers``; ``words`` is for tests."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("src", type=Path, help="folder of the data set as distributed")
    default = Path(os.environ.get("OPSNET_DATA", "data")) / dataset
    parser.add_argument("dst", type=Path, nargs="?", default=default, help=f"folder to write, {default} by default")
    parser.add_argument("--sets", nargs="+", choices=sets, default=sets, help="all by default")
    if kinds:
        parser.add_argument("--kinds", nargs="+", choices=kinds, default=kinds, help="of annotation, all by default")
    parser.add_argument("--workers", type=int, help="processes, by default one a core")
    options = parser.parse_args(words)
    require_folder(options.src, "give the folder into which you unpacked the data set")
    return options


def require_folder(folder: Path, fix: str) -> None:
    """Refuses a folder that is missing.

    Raises:
        DatasetError: it is; the message says ``fix``.
    """
    if not folder.is_dir():
        raise DatasetError(f"folder {folder} does not exist: {fix}")
