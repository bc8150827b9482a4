"""Text files of names: one concept per line; published class lists put its id in front."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from opsnet.utils import structured_files
from opsnet.vocabulary.names import VocabularyError, folded, split_names, without_repeats

UNUSED_ID = "invalid_class_id"
"""The name that published lists give to ids without a class."""

SAME_DATASET = 0.9
"""Share of the classes with a common name; FC-CLIP's lists and the packaged ones have 0.94 or more."""

LARGEST = 64 * 2**20
"""Bytes of a file; ImageNet-21K's names are half a MB."""
_LONGEST_ID = 15  # digits; a json number beyond 2^53 may be rounded
_KEYED = re.compile(r"(?P<id>\d+)\s*:(?P<names>.*)")


@dataclass(frozen=True)
class Row:
    """One concept of a text file: the number of its line, its id if the file gives ids, its names in their order."""

    line: int
    id: int | None
    names: tuple[str, ...]


def read_rows(path: Path) -> list[Row]:
    """Reads a text file of names.

    The content decides what the file is. If lines begin with ``id:``, it is a class list as OpenSeg, ODISE and FC-CLIP
    publish them (``3:cat,kitten``): every name of a line is a synonym, lines with the name ``invalid_class_id`` are
    left out, and several concepts may have the same name. Otherwise each line is a concept without an id. Empty lines
    and those that begin with ``#`` do not count; a name that a line repeats counts once.

    Raises:
        VocabularyError: the file cannot be read, only some of its lines begin with an id, an id occurs twice, or a line
            has no name or several ids; the message names file and line.
    """
    lines = [(number, line.strip()) for number, line in enumerate(read_text(path).splitlines(), start=1)]
    rows = [_row(path, number, line) for number, line in lines if line and not line.startswith("#")]
    _refuse_mixed(path, rows)
    _refuse_repeated_ids(path, rows)
    return [row for row in rows if row.id is None or row.names != (UNUSED_ID,)]


def ids_of_classes(keyed: Mapping[int, tuple[str, ...]], classes: Mapping[int, Collection[str]]) -> list[int] | None:
    """Finds the classes of a dataset in a published list.

    Args:
        keyed: the names of the list by id.
        classes: all names of each of the dataset's classes by id.

    Returns:
        Each class's id in the list: the same, or its position if those are missing, as lists of training ids count from
        0. ``None`` if neither are there, or if fewer than nine in ten classes share a name with theirs.
    """
    found = next((list(ids) for ids in (classes, range(len(classes))) if keyed.keys() >= set(ids)), None)
    if found is None:
        return None
    common = sum(not folded(keyed[i]).isdisjoint(folded(c)) for i, c in zip(found, classes.values(), strict=True))
    return found if common >= SAME_DATASET * len(found) else None


def read_text(path: Path) -> str:
    """The content of a vocabulary file.

    Raises:
        VocabularyError: it does not exist, is too large, or is not UTF-8.
    """
    try:
        return structured_files.read_text(path, LARGEST)
    except structured_files.FileError as error:
        raise VocabularyError(f"vocabulary file {path} {error}") from error


def _row(path: Path, number: int, line: str) -> Row:
    keyed = _KEYED.fullmatch(line)
    text = keyed["names"] if keyed else line
    names = without_repeats(split_names(text))
    if not names:
        raise VocabularyError(f"line {number} of vocabulary file {path} has no name: write one there or remove it")
    if keyed and len(keyed["id"]) > _LONGEST_ID:
        raise VocabularyError(
            f"line {number} of vocabulary file {path} has an id of {len(keyed['id'])} digits: correct it"
        )
    if keyed and ":" in text:  # as after joining two files of which the first does not end with a line break
        raise VocabularyError(
            f"line {number} of vocabulary file {path} has a second ':': put each 'id:name,synonym' on its own line"
        )
    return Row(number, int(keyed["id"]) if keyed else None, names)


def _refuse_mixed(path: Path, rows: list[Row]) -> None:
    other = next((row for row in rows if (row.id is None) != (rows[0].id is None)), None)
    if other is not None:
        without, keyed = (rows[0], other) if rows[0].id is None else (other, rows[0])
        raise VocabularyError(
            f"line {without.line} of vocabulary file {path} ('{without.names[0]}') has no id, but line {keyed.line} "
            f"has {keyed.id}: write 'id:name,synonym' on every line or give no line an id"
        )


def _refuse_repeated_ids(path: Path, rows: list[Row]) -> None:
    first: dict[int, int] = {}
    for row in rows:
        if row.id is not None and first.setdefault(row.id, row.line) != row.line:
            raise VocabularyError(
                f"vocabulary '{path.stem}' has the id '{row.id}' twice, on lines {first[row.id]} and {row.line} of "
                f"{path}: remove one of them"
            )
