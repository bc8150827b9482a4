"""The one vocabulary that all sets of an own data set share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from opsnet.utils.errors import InputError
from opsnet.vocabulary import Concept, Vocabulary

SHARED = "vocabulary.json"


def shared(vocabulary: Vocabulary, path: Path) -> Vocabulary:
    """The vocabulary of the file if it is there and has all of ``vocabulary``, else ``vocabulary``.

    Synonyms may have been added to the file by hand; a set need not have them too.

    Raises:
        InputError: an id means something else in the file, or nothing; or a name is there twice.
    """
    names = Counter(name.casefold() for name in vocabulary.names)
    name, count = names.most_common(1)[0]
    if count > 1:
        raise InputError(f"vocabulary '{vocabulary.name}' has the name '{name}' twice: give each id its own name")
    if not path.is_file():
        return vocabulary
    there = Vocabulary.load(path)
    known = {concept.id: concept for concept in there.concepts}
    for concept in vocabulary.concepts:
        other = known.get(concept.id)
        if other is None or concept not in (other, replace(other, synonyms=())):
            has = "lacks" if other is None else f"has {_described(other)} in place of"
            raise InputError(
                f"{path}, which all sets beside it share, {has} {_described(concept)}: "
                f"give --vocabulary {path}, or another --dst"
            )
    return there


def with_kinds(vocabulary: Vocabulary, *, stuff: Iterable[str], things: Iterable[str]) -> Vocabulary:
    """The vocabulary with these names as stuff and as things.

    Raises:
        InputError: the vocabulary lacks a name, or one is to be both.
    """
    kinds: dict[str, bool] = {}
    known = {name.casefold() for name in vocabulary.names}
    for option, names in (("--stuff", stuff), ("--things", things)):
        for name in names:
            if name.casefold() not in known:
                raise InputError(
                    f"{option} says '{name}', which is no name of vocabulary '{vocabulary.name}': correct it"
                )
            if name.casefold() in kinds and option == "--things":
                raise InputError(f"'{name}' is in --stuff and in --things: remove it from one of them")
            kinds[name.casefold()] = option == "--things"
    concepts = (replace(c, is_thing=kinds.get(c.name.casefold(), c.is_thing)) for c in vocabulary.concepts)
    return replace(vocabulary, concepts=tuple(concepts))


def stuff_ids(vocabulary: Vocabulary) -> tuple[int, ...]:
    """Ids of the stuff."""
    return tuple(c.id for c in vocabulary.concepts if not c.is_thing)


def _described(concept: Concept) -> str:
    return f"{concept.id}: {', '.join(concept.names)} ({'thing' if concept.is_thing else 'stuff'})"
