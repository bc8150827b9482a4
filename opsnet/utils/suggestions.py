"""What a mistyped word was meant to be."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import SequenceMatcher, get_close_matches


def closest(word: str, known: Iterable[str], *, cutoff: float = 0.6) -> list[str]:
    """The known words that are spelled most like ``word``, at most three, the best first and those nearly as good.

    Args:
        word: what was typed.
        known: words that would be right.
        cutoff: minimum similarity, see :func:`difflib.get_close_matches`.
    """
    folded, by_folded = word.casefold(), {name.casefold(): name for name in known}
    found = get_close_matches(folded, by_folded, cutoff=cutoff)
    ratios = [SequenceMatcher(None, name, folded).ratio() for name in found]
    return [by_folded[name] for name, ratio in zip(found, ratios) if ratio > ratios[0] - 0.1]


def closest_keys(key: str, known: Iterable[str]) -> list[str]:
    """The configuration keys that a mistyped one may mean, at most three.

    A key is often right except for the group in front of it (``threshold`` for ``filtering.threshold``), so equal last
    parts count before similar spellings, and short keys before long ones.
    """
    keys = sorted(known, key=lambda name: (name.count("."), len(name)))
    last = key.rpartition(".")[2]
    same = [name for name in keys if name.rpartition(".")[2] == last and name != key]
    if same:
        return same[:3]
    alike = closest(key, keys) or [
        name for part in closest(last, {name.rpartition(".")[2] for name in keys}, cutoff=0.75)
        for name in keys if name.rpartition(".")[2] == part
    ]  # fmt: skip
    return alike[:3]


def did_you_mean(words: Iterable[str]) -> str:
    """``": did you mean a or b?"``; nothing if there is no such word."""
    listed = " or ".join(words)
    return f": did you mean {listed}?" if listed else ""
