"""The forms in which a user may give class names."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from opsnet.vocabulary import Vocabulary
from opsnet.vocabulary.name_tree import NameTree, is_tree
from opsnet.vocabulary.names import VocabularyError

Words = str | Path | Vocabulary | NameTree | Iterable[str]
"""An argument of :meth:`Vocabulary.load`, a tree, or an argument of :meth:`NameTree.load`."""

_FORMS = "names separated by commas, a file, a list's name such as coco, or a list of names"


def as_words(words: Words) -> Vocabulary | NameTree:
    """A vocabulary or tree from any of the forms of :data:`Words`.

    Raises:
        VocabularyError, WordNetError: it cannot be read or is invalid.
    """
    if isinstance(words, NameTree):
        return words
    if isinstance(words, (str, Path)) and is_tree(words):
        return NameTree.load(words)
    if isinstance(words, (str, Path, Vocabulary)):
        return Vocabulary.load(words)
    if words is None or isinstance(words, bytes) or not isinstance(words, Iterable):
        raise VocabularyError(f"vocabulary must be {_FORMS}, got {words!r}")
    names = list(words)
    if wrong := [name for name in names if not isinstance(name, str)]:
        raise VocabularyError(f"vocabulary must be {_FORMS}, and its names texts, got {wrong[0]!r}")
    return Vocabulary.load(names)
