"""The forms in which a user may give class names."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from opsnet.vocabulary import Vocabulary
from opsnet.vocabulary.name_tree import NameTree, is_tree

Words = str | Path | Vocabulary | NameTree | Iterable[str]
"""An argument of :meth:`Vocabulary.load`, a tree, or an argument of :meth:`NameTree.load`."""


def as_words(words: Words) -> Vocabulary | NameTree:
    """A vocabulary or tree from any of the forms of :data:`Words`.

    Raises:
        VocabularyError, WordNetError: it cannot be read or is invalid.
    """
    if isinstance(words, NameTree):
        return words
    if isinstance(words, (str, Path)) and is_tree(words):
        return NameTree.load(words)
    return Vocabulary.load(words)
