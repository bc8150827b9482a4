"""The vocabulary shared by all sets of your own dataset."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from opsnet.preparation.own_shapes import Label
from opsnet.utils.errors import InputError
from opsnet.vocabulary import Concept, Vocabulary

SHARED = "vocabulary.json"


def shared(vocabulary: Vocabulary, path: Path) -> Vocabulary:
    """The vocabulary in the file if it exists, which must contain all of ``vocabulary``; otherwise ``vocabulary``.

    Synonyms may have been added to the file by hand; sets do not need to have them.

    Raises:
        InputError: an id is missing in the file or means something else, or a name occurs twice.
    """
    names = Counter(name.casefold() for name in vocabulary.names)
    name, count = names.most_common(1)[0]
    if count > 1:
        raise InputError(f"vocabulary '{vocabulary.name}' has the name '{name}' twice: give each id a unique name")
    if not path.is_file():
        return vocabulary
    there = Vocabulary.load(path)
    known = {concept.id: concept for concept in there.concepts}
    for concept in vocabulary.concepts:
        other = known.get(concept.id)
        if other is None or concept not in (other, replace(other, synonyms=())):
            has = "lacks" if other is None else f"has {_described(other)} instead of"
            raise InputError(
                f"{path}, which all sets in its folder share, {has} {_described(concept)}: "
                f"give --vocabulary {path}, or another --dst"
            )
    return there


def with_kinds(vocabulary: Vocabulary, *, stuff: Iterable[str], things: Iterable[str]) -> Vocabulary:
    """The vocabulary with these names as stuff and as things.

    Raises:
        InputError: the vocabulary lacks a name, or a name is given as both.
    """
    kinds: dict[str, bool] = {}
    known = {name.casefold() for name in vocabulary.names}
    for option, names in (("--stuff", stuff), ("--things", things)):
        for name in names:
            if name.casefold() not in known:
                raise InputError(
                    f"{option} has '{name}', which is not a name in vocabulary '{vocabulary.name}': correct it"
                )
            if name.casefold() in kinds and option == "--things":
                raise InputError(f"'{name}' is in --stuff and in --things: remove it from one of them")
            kinds[name.casefold()] = option == "--things"
    concepts = (replace(c, is_thing=kinds.get(c.name.casefold(), c.is_thing)) for c in vocabulary.concepts)
    return replace(vocabulary, concepts=tuple(concepts))


def stuff_ids(vocabulary: Vocabulary) -> tuple[int, ...]:
    """Ids of the stuff classes."""
    return tuple(c.id for c in vocabulary.concepts if not c.is_thing)


def of_labels(labels: Mapping[Label, str], tool: str) -> Vocabulary:
    """A vocabulary of labels, with ids from 1; ``Vocabulary.from_names`` determines which are stuff.

    Args:
        labels: name -> a file that has it.
        tool: where labels can be renamed.

    Raises:
        InputError: two labels differ only in case.
    """
    seen: dict[str, str] = {}
    for label in map(str, labels):
        other = seen.setdefault(label.casefold(), label)
        if other != label:
            raise InputError(
                f"labels '{other}' ({labels[other]}) and '{label}' ({labels[label]}) differ only in case: rename one "
                f"in {tool}"
            )
    return Vocabulary.from_names(map(str, labels), tool)


def label_ids(
    used: Mapping[Label, str], vocabulary: Vocabulary, where: str, tool: str
) -> tuple[tuple[Label, int], ...]:
    """(label, category id) of all labels, looked up by name or synonym, ignoring case.

    Args:
        used: label -> a file that has it.
        vocabulary: where they are looked up.
        where: its name for messages.
        tool: where labels can be renamed.

    Raises:
        InputError: the vocabulary lacks a label.
    """
    known = {name.casefold(): c.id for c in reversed(vocabulary.concepts) for name in reversed(c.names)}
    for label, path in used.items():
        if str(label).casefold() not in known:
            raise InputError(
                f"{path} has the label '{label}', which {where} lacks: add it there, or rename the label in {tool}"
            )
    return tuple((label, known[str(label).casefold()]) for label in used)


def _described(concept: Concept) -> str:
    return f"{concept.id}: {', '.join(concept.names)} ({'thing' if concept.is_thing else 'stuff'})"
