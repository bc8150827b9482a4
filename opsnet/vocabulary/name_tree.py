"""Trees of names for hierarchical prediction (paper, section 4.4 and Figure 5): [thing, animal, cat, siamese cat]."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from opsnet.utils.paths import user_path
from opsnet.utils.structured_files import FileError, read_yaml
from opsnet.vocabulary import wordnet
from opsnet.vocabulary.names import VocabularyError, split_names, without_repeats
from opsnet.vocabulary.vocabulary import Concept, Vocabulary, is_known_thing

KINDS = {"thing": True, "stuff": False}
WORDNET = "wordnet:"


@dataclass(frozen=True)
class NameTree:
    """A tree of concepts.

    Attributes:
        vocabulary: every node. The top nodes "thing" and "stuff" are kinds: they have no text and only determine
            whether everything below is a thing or stuff.
        parent: index of each node's parent, which precedes it; -1 at the top.
    """

    vocabulary: Vocabulary
    parent: tuple[int, ...]

    @cached_property
    def words(self) -> tuple[int, ...]:
        """The nodes with a text: all except the kinds."""
        concepts = self.vocabulary.concepts
        return tuple(i for i, p in enumerate(self.parent) if not (p < 0 and concepts[i].name in KINDS))

    @cached_property
    def word_vocabulary(self) -> Vocabulary:
        """The concepts of :attr:`words`, from which the text bank is built."""
        return Vocabulary(self.vocabulary.name, tuple(self.vocabulary.concepts[i] for i in self.words))

    @classmethod
    def load(cls, spec: str | Path) -> NameTree:
        """Reads a tree.

        Args:
            spec: ``wordnet:`` and a synset such as ``animal.n.01`` for its subtree; or a .yaml file of nested names::

                thing:
                  animal:
                    cat, house cat: [siamese cat, tabby]
                    dog:
                  wordnet:vehicle.n.01:
                stuff: [sky, "water, sea"]

            A key or list entry is a name, followed by its synonyms after commas; ``wordnet:`` inserts a subtree.

        Raises:
            VocabularyError: the file does not exist or is not a tree of names; the message says where.
            WordNetError: WordNet is not installed or has no such synset.
        """
        text = str(spec).strip()
        if text.startswith(WORDNET):
            first = wordnet.tree(text.removeprefix(WORDNET))[0][1][0]
            return _built(text, {"thing" if is_known_thing(first) else "stuff": text}, text)
        path = user_path(text)
        return _built(path.stem, _parsed(path), str(path))


def is_tree(spec: Any) -> bool:
    """Whether ``spec`` names a tree: a .yaml file or a subtree of WordNet."""
    text = str(spec).strip() if isinstance(spec, (str, Path)) else ""
    return text.startswith(WORDNET) or text.endswith((".yaml", ".yml"))


def _parsed(path: Path) -> Any:
    try:
        return read_yaml(path, unique_keys=True)
    except FileError as error:
        raise VocabularyError(f"tree file {path} {error}") from error


def _built(name: str, nested: Any, source: str) -> NameTree:
    rows: list[tuple[int | None, tuple[str, ...], int, bool]] = []  # id, names, parent, is a thing
    _add(rows, nested, -1, None, source, ())
    free = iter(_free_ids({i for i, *_ in rows if i is not None}))
    concepts = [Concept(next(free) if i is None else i, n[0], thing, n[1:]) for i, n, _, thing in rows]
    tree = NameTree(Vocabulary(name, tuple(concepts)), tuple(row[2] for row in rows))
    barren = set(range(len(concepts))) - set(tree.words) - set(tree.parent)
    if barren or not tree.words:
        where = concepts[min(barren)].name if barren else "it"
        raise VocabularyError(f"tree {source} has no name below '{where}': write one there or remove it")
    return tree


def _free_ids(taken: set[int]) -> Iterator[int]:
    number = 0
    while True:
        number += 1
        if number not in taken:
            yield number


def _add(
    rows: list[tuple[int | None, tuple[str, ...], int, bool]], value: Any, parent: int, thing: bool | None,
    source: str, above: tuple[str, ...],
) -> None:  # fmt: skip
    """Adds everything below one node."""
    siblings: set[str] = set()
    for key, below in _entries(value, source, above):
        if key.startswith(WORDNET):
            if below is not None:
                raise VocabularyError(f"tree {source} has names below {key}, which has its own: remove them")
            _add_synsets(rows, key.removeprefix(WORDNET), parent, thing)
            continue
        names = without_repeats(split_names(key))
        where = " > ".join((*above, key))
        if not names:
            raise VocabularyError(f"tree {source} has an empty name at '{_place(above)}': write one or remove it")
        if names[0].casefold() in siblings:
            raise VocabularyError(f"tree {source} has '{where}' twice: remove one of them")
        siblings.add(names[0].casefold())
        kind = KINDS.get(names[0], thing) if parent < 0 else thing
        rows.append((None, names, parent, is_known_thing(names[0]) if kind is None else kind))
        _add(rows, below, len(rows) - 1, kind, source, (*above, key))


def _add_synsets(
    rows: list[tuple[int | None, tuple[str, ...], int, bool]], synset: str, parent: int, thing: bool | None
) -> None:
    """Adds a subtree of WordNet below one node; a synset that is already in the tree keeps its first position."""
    place, known = dict[int, int](), {row[0]: i for i, row in enumerate(rows) if row[0] is not None}
    for index, (offset, lemmas, above) in enumerate(wordnet.tree(synset)):
        place[index] = known.get(offset, len(rows))
        if offset not in known:
            kind = is_known_thing(lemmas[0]) if thing is None else thing
            rows.append((offset, without_repeats(lemmas), parent if above < 0 else place[above], kind))


def _entries(value: Any, source: str, above: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    """Yields (name, children) of one level."""
    if value is None:
        return
    if isinstance(value, Mapping):
        yield from ((str(key), below) for key, below in value.items())
    elif isinstance(value, list):
        for item in value:
            if isinstance(item, (Mapping, str)):
                yield from _entries(item, source, above)
            else:
                _refuse(item, source, above)
    elif isinstance(value, str):
        yield value, None
    else:
        _refuse(value, source, above)


def _refuse(value: Any, source: str, above: tuple[str, ...]) -> None:
    raise VocabularyError(
        f"tree {source} has {value!r} at '{_place(above)}', which is not a name: write names, lists of names, or "
        "names with children; quote numbers, yes and no"
    )


def _place(above: tuple[str, ...]) -> str:
    return " > ".join(above) or "top"
