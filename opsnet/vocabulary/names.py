"""Names as people write them: separated by commas, semicolons or line breaks, with repeats."""

from __future__ import annotations

import re
from collections.abc import Iterable

from opsnet.utils.errors import InputError


class VocabularyError(InputError):
    """A vocabulary cannot be read or used; the message names it and the fix."""


def split_names(text: str) -> list[str]:
    """Splits names at commas, semicolons and line breaks, normalises whitespace and drops empty names."""
    return [" ".join(name.split()) for name in re.split(r"[,;\n]", text) if name.strip()]


def typed_names(text: str) -> tuple[str, ...]:
    """The class names in a text that a person typed or pasted, each once; for the commands and for the web page."""
    return without_repeats(split_names(text))


def without_repeats(names: list[str]) -> tuple[str, ...]:
    """Names without duplicates; upper and lower case are the same."""
    first = {name.casefold(): name for name in reversed(names)}
    return tuple(name for name in names if first.pop(name.casefold(), None) is not None)


def folded(names: Iterable[str]) -> set[str]:
    """Names for comparisons that ignore upper and lower case."""
    return {name.casefold() for name in names}
