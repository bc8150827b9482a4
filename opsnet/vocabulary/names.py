"""Names as people write them: separated in various ways, with repeats, misspelt."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from pathlib import Path

from opsnet.utils.errors import InputError
from opsnet.utils.suggestions import closest, did_you_mean

_SUFFIX = re.compile(r"\.([A-Za-z]{1,5})")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]")
_FILES = ("txt", "text", "json", "jsonl", "yaml", "yml", "csv", "tsv", "names")


class VocabularyError(InputError):
    """A vocabulary cannot be read or used; the message names it and the fix."""


def split_names(text: str) -> list[str]:
    """Splits names at commas, normalises whitespace and drops empty names."""
    return [" ".join(name.split()) for name in text.split(",") if name.strip()]


def split_concepts(text: str) -> list[str]:
    """Splits a typed list of class names at commas, semicolons and line breaks; a JSON list into its entries.

    An entry of a JSON list may have commas: one concept with several names, like a line of a .txt file.

    Raises:
        VocabularyError: an entry of a JSON list is not a text.
    """
    text = text.strip()
    if text[:1] + text[-1:] == "[]":
        try:
            return checked_entries(json.loads(text))
        except VocabularyError:
            raise
        except (ValueError, RecursionError):  # a number of thousands of digits is a ValueError
            text = text[1:-1]  # names in brackets, without quotes
    return [" ".join(name.split()) for name in re.split(r"[,;\n]", text) if name.strip()]


def checked_entries(entries: Iterable[object]) -> list[str]:
    """The entries of a list of names.

    Raises:
        VocabularyError: one is not a text, or has no name.
    """
    found = list(entries)
    for entry in found:
        if not isinstance(entry, str) or not split_names(entry):
            raise VocabularyError(f"a list of class names has the entry {entry!r}: each must be a text with a name")
    return [str(entry) for entry in found]


def require_printable(names: Iterable[str], vocabulary: str) -> None:
    """Refuses names that no file or terminal can show: with control characters, or with half of a character.

    Raises:
        VocabularyError: there is one.
    """
    for name in names:
        if not name.isprintable() and (found := _UNPRINTABLE.search(name)):
            raise VocabularyError(
                f"vocabulary '{vocabulary}' has the name {name[:80]!r} with the character U+{ord(found[0]):04X}, which "
                "cannot be shown: remove it"
            )


def question_single_name(text: str, packaged: Iterable[str]) -> None:
    """Refuses a single word that was probably meant to be a packaged vocabulary or a file.

    Args:
        text: a vocabulary without separators, which is neither.
        packaged: names of packaged vocabularies.

    Raises:
        VocabularyError: it looks like one of them; the message says how to use it as a class name.
    """
    if "," in text or ";" in text or "\n" in text or text.startswith("["):
        return
    path = Path(text)
    suffix = _SUFFIX.fullmatch(path.suffix)
    looks_like_file = (suffix and closest(suffix[1], _FILES, cutoff=0.7)) or text.startswith(("/", "./", "../", "~"))
    meant = closest(text, packaged, cutoff=0.75)
    if not (meant or looks_like_file or ("/" in text and os.path.isdir(path.parent)) or os.path.exists(path)):
        return
    fix = did_you_mean(meant) or ": check the path."
    raise VocabularyError(
        f"vocabulary '{text}' is neither a packaged vocabulary nor a .json or .txt file{fix} To use it as the single "
        f"class name, put a comma behind it: vocabulary='{text},'"
    )


def without_repeats(names: list[str]) -> tuple[str, ...]:
    """A concept's names without duplicates."""
    first = {name.casefold(): name for name in reversed(names)}
    return tuple(name for name in names if first.pop(name.casefold(), None) is not None)


def folded(names: Iterable[str]) -> set[str]:
    """Names for comparisons that ignore upper and lower case."""
    return {name.casefold() for name in names}
