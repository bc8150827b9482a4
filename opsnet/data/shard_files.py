"""Finds the shards of a WebDataset: local .tar files, given by a folder, by names, or by patterns of names.

Addresses are refused. The package webdataset would open them, and start the program that one such as ``pipe:`` names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from glob import glob, has_magic
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

from opsnet.utils.errors import DatasetError
from opsnet.utils.json_fields import FieldError, field, items, nonblank, whole
from opsnet.utils.paths import user_path
from opsnet.utils.structured_files import FileError, read_json

MOST_SHARDS = 100_000
LARGEST_INFO = 64 * 2**20
"""Bytes of an ``_info.json``; that of ImageNet-22K's 4,608 shards has less than one MB."""
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")
_RANGE = re.compile(r"(-?\d+)\.\.(-?\d+)")


@dataclass(frozen=True)
class Shard:
    """A shard and the number of samples that an ``_info.json`` gives it, ``None`` if there is none."""

    path: Path
    samples: int | None = None


def find_shards(given: Path | str | Iterable[Path | str], split: str = "train") -> list[Shard]:
    """The shards that a configuration names, in the order of the names.

    Args:
        given: a folder; or a path, possibly with braces (``train-{0000..2047}.tar``) or wildcards; or a list of these.
        split: of a folder with an ``_info.json`` as timm writes it; other folders have one split, all their .tar files.

    Raises:
        DatasetError: there is none, one is missing or no local file, or one is given twice.
    """
    texts = [str(given)] if isinstance(given, (str, Path)) else [str(part) for part in given]
    shards = [shard for text in texts for shard in _named(text, split)]
    if not shards:
        raise DatasetError("no shards are given: set `shards` to a folder, or to paths of .tar files")
    missing = [shard.path for shard in shards if not shard.path.is_file()]
    if missing:
        raise DatasetError(
            f"shard {missing[0]} does not exist ({len(missing)} of {len(shards)} are missing): download it, or set "
            f"`shards` to those that are there, e.g. '{missing[0].parent}/*.tar'"
        )
    seen: set[Path] = set()
    for path in (shard.path.resolve() for shard in shards):
        if path in seen:
            raise DatasetError(f"shard {path} is given twice, so that its images would be read twice: check `shards`")
        seen.add(path)
    return shards


def _named(text: str, split: str) -> list[Shard]:
    if _ADDRESS.match(text):
        raise DatasetError(
            f"shards {text} are not local files, from which alone they are read: download them first (hf download), "
            "or write ./ before a file name with a colon"
        )
    path = user_path(text)
    if path.is_dir():
        return _of_folder(path, split)
    if path.exists():
        return [Shard(path)]
    return [Shard(Path(name)) for part in _expanded(str(path)) for name in _matching(part)]


def _expanded(pattern: str) -> list[str]:
    """A pattern's names with its braces expanded, as a shell does."""
    from braceexpand import braceexpand

    # Of each range too, because all of its numbers are written out before the first name is returned.
    sizes = [abs(int(last[:20]) - int(first[:20])) for first, last in _RANGE.findall(pattern)]
    try:
        names = list(islice(braceexpand(pattern), MOST_SHARDS + 1)) if max(sizes, default=0) <= MOST_SHARDS else None
    except ValueError as error:
        raise DatasetError(f"shards {pattern}: a brace has no partner; write e.g. train-{{0000..2047}}.tar") from error
    if names is None or len(names) > MOST_SHARDS:
        raise DatasetError(f"shards {pattern} stand for more than {MOST_SHARDS:,} files: correct the numbers in braces")
    return names


def _matching(name: str) -> list[str]:
    if not has_magic(name):
        return [name]
    found = sorted(glob(name))
    if not found:
        raise DatasetError(f"no shard has a name like {name}: check `shards`")
    return found


def _of_folder(folder: Path, split: str) -> list[Shard]:
    for info in (folder / "_info.json", folder / "info.json"):
        if info.is_file():
            return _listed(info, split)
    found = sorted(folder.glob("*.tar"))
    if not found:
        raise DatasetError(f"folder {folder} has neither an _info.json nor .tar files: check `shards`")
    return [Shard(path) for path in found]


def _listed(info: Path, split: str) -> list[Shard]:
    """The shards of a split, as timm's datasets list them: ``splits``, ``filenames``, ``shard_lengths``."""
    try:
        splits = field(read_json(info, LARGEST_INFO), "splits", _mapping)
        if split not in splits:
            raise FieldError(f"it is not among {', '.join(map(str, splits)) or 'none'}: set `split` to one of these")
        names = field(splits[split], "filenames", items)
        lengths = field(splits[split], "shard_lengths", items, [None] * len(names))
        if len(names) != len(lengths):
            raise FieldError(f"{len(names)} filenames have {len(lengths)} shard_lengths: download the file again")
        rows = [{"filename": name, "length": length} for name, length in zip(names, lengths)]
        return [Shard(info.parent / field(r, "filename", _inside), field(r, "length", _length)) for r in rows]
    except FileError as error:
        raise DatasetError(f"{info} {error}") from error
    except FieldError as error:
        raise DatasetError(f"{info}, split '{split}': {error}") from error


def _mapping(value: Any) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    raise TypeError("an object")


def _length(value: Any) -> int | None:
    return None if value is None else whole(value)


def _inside(value: Any) -> str:
    path = PurePosixPath(nonblank(value))
    if path.is_absolute() or ".." in path.parts:
        raise TypeError("the path of a file inside the folder")
    return str(path)
