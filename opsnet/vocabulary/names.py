"""Names as people write them: separated in various ways, with repeats."""

from __future__ import annotations

import re
from collections.abc import Iterable

from opsnet.utils.errors import InputError


class VocabularyError(InputError):
    """A vocabulary cannot be read or used; the message names it and the fix."""


def split_names(text: str) -> list[str]:
    """Splits names at commas, normalises whitespace and drops empty names."""
    return [" ".join(name.split()) for name in text.split(",") if name.strip()]


def split_concepts(text: str) -> list[str]:
    """Splits a typed list of class names at commas, semicolons and line breaks, on the page and in the commands."""
    return [" ".join(name.split()) for name in re.split(r"[,;\n]", text) if name.strip()]


def without_repeats(names: list[str]) -> tuple[str, ...]:
    """A concept's names without duplicates."""
    first = {name.casefold(): name for name in reversed(names)}
    return tuple(name for name in names if first.pop(name.casefold(), None) is not None)


def folded(names: Iterable[str]) -> set[str]:
    """Names for comparisons that ignore upper and lower case."""
    return {name.casefold() for name in names}
