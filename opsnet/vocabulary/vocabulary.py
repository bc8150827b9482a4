"""Vocabularies: ordered concepts, each with one or more names and marked as thing or stuff."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import resources
from pathlib import Path
from typing import Any

from opsnet.utils.json_fields import field, flag, items, nonblank, whole
from opsnet.utils.paths import user_path
from opsnet.utils.structured_files import FileError, read_json
from opsnet.utils.suggestions import closest, did_you_mean
from opsnet.vocabulary.names import (
    VocabularyError,
    checked_entries,
    folded,
    question_single_name,
    require_printable,
    split_concepts,
    split_names,
    without_repeats,
)
from opsnet.vocabulary.text_list import ids_of_classes, read_rows
from opsnet.vocabulary.wordnet import subtree


@dataclass(frozen=True)
class Concept:
    """One entry of a vocabulary.

    Attributes:
        id: the dataset's category id.
        name: its main name, which is used in reports.
        is_thing: thing (countable) or stuff.
        synonyms: further names; a segment's similarity to a concept is the maximum over all its names.
    """

    id: int
    name: str
    is_thing: bool
    synonyms: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The name, then the synonyms."""
        return (self.name, *self.synonyms)


@dataclass(frozen=True)
class Vocabulary:
    """An ordered list of concepts; a label is an index into it.

    Raises:
        VocabularyError: it is empty, an id occurs twice, or a name cannot be shown.
    """

    name: str
    concepts: tuple[Concept, ...]

    def __post_init__(self) -> None:
        if not self.concepts:
            raise VocabularyError(
                f"vocabulary '{self.name}' is empty: give at least one name, e.g. vocabulary='cat, grass'"
            )
        _refuse_repeated(self.name, "id", self.ids)
        require_printable((name for concept in self.concepts for name in concept.names), self.name)

    def __len__(self) -> int:
        return len(self.concepts)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The main names, in order."""
        return tuple(c.name for c in self.concepts)

    @cached_property
    def is_thing(self) -> tuple[bool, ...]:
        """Thing or stuff, in order."""
        return tuple(c.is_thing for c in self.concepts)

    @cached_property
    def ids(self) -> tuple[int, ...]:
        """Dataset category ids, in order."""
        return tuple(c.id for c in self.concepts)

    @cached_property
    def index_of_id(self) -> dict[int, int]:
        """Dataset category id -> label."""
        return {c.id: i for i, c in enumerate(self.concepts)}

    def seen_in(self, train: Vocabulary) -> tuple[bool, ...]:
        """For each concept, whether it shares a name with ``train``, synonyms included, in upper or lower case.

        FC-CLIP's rule, except that it compares the case too, which CLIP's tokenizer removes.
        """
        known = folded(name for concept in train.concepts for name in concept.names)
        return tuple(not known.isdisjoint(folded(concept.names)) for concept in self.concepts)

    def union(self, other: Vocabulary) -> Vocabulary:
        """This vocabulary plus the concepts of ``other`` without a common name, which get new ids."""
        new = [c for c, seen in zip(other.concepts, other.seen_in(self)) if not seen]
        start = max(self.ids) + 1
        added = (Concept(i, c.name, c.is_thing, c.synonyms) for i, c in enumerate(new, start=start))
        return Vocabulary(f"{self.name}+{other.name}", (*self.concepts, *added))

    def without(self, names: Collection[str]) -> Vocabulary:
        """This vocabulary without some of its concepts, each given by its first name.

        Raises:
            VocabularyError: there is no such concept, or nothing is left.
        """
        unknown = [name for name in names if name not in self.names]
        if unknown:
            known = ", ".join(self.names[:20]) + (", ..." if len(self) > 20 else "")
            raise VocabularyError(f"vocabulary '{self.name}' has no concept '{unknown[0]}': its names are {known}")
        left = tuple(c for c in self.concepts if c.name not in names)
        if not left:
            raise VocabularyError(f"nothing is left of vocabulary '{self.name}': leave fewer of its names out")
        return Vocabulary(self.name, left)

    def categories(self) -> list[dict[str, Any]]:
        """The concepts in the form of a panoptic json, with ``synonyms`` if there are any."""
        return [
            {
                "id": c.id,
                "name": c.name,
                "isthing": int(c.is_thing),
                **({"synonyms": list(c.synonyms)} if c.synonyms else {}),
            }
            for c in self.concepts
        ]

    @classmethod
    def from_categories(cls, name: str, categories: Iterable[Mapping[str, Any]]) -> Vocabulary:
        """The inverse of :meth:`categories`.

        Raises:
            VocabularyError, TypeError, ValueError: ``categories`` is not such a list.
        """
        return cls(name, tuple(_concept(category) for category in categories))

    @classmethod
    def load(cls, spec: str | Path | Vocabulary | Iterable[str]) -> Vocabulary:
        """Reads a vocabulary.

        Args:
            spec: the name of a packaged vocabulary (``coco``, ``ade20k``, ...), ``imagenet1k`` or ``imagenet21k``,
                ``wordnet:`` and a synset such as ``animal.n.01`` for its subtree, the path of a .json or .txt file (one
                concept per line, commas between its names, optionally preceded by ``id:``), a packaged name and such a
                file (``cityscapes:names.txt``) for its ids and things with the file's names, or a list of names
                separated by commas, semicolons or line breaks; or a list of entries, each with a name, or with several
                names of one concept separated by commas. A ``Vocabulary`` is returned unchanged. A .txt file with the
                classes of a packaged vocabulary has its things; otherwise :meth:`from_names` says what is a thing.

        Raises:
            VocabularyError: the name is unknown, the file is unreadable, or it has no usable names; a single word that
                resembles a packaged name or a file is questioned.
            WordNetError: WordNet is not installed or has no such synset.
        """
        if isinstance(spec, Vocabulary):
            return spec
        if not isinstance(spec, (str, Path)):
            if not isinstance(spec, Iterable):
                raise VocabularyError(f"a vocabulary is a text, a path or a list of names, not {spec!r}")
            return cls.from_entries(spec)
        text = str(spec).strip()
        if not text:
            raise VocabularyError("the vocabulary is empty: give at least one name, e.g. vocabulary='cat, grass'")
        if text in packaged_vocabularies():
            return _packaged(text)
        if text in _IMAGENETS:
            return _imagenet(text)
        if text.startswith("wordnet:"):
            return _of_synsets(text, subtree(text.removeprefix("wordnet:")))
        packaged, _, file = text.partition(":")
        if packaged in packaged_vocabularies() and file.endswith(".txt"):
            return _renamed(_packaged(packaged), user_path(file))
        path = user_path(text)
        if path.suffix in (".json", ".txt"):
            return _from_json(path) if path.suffix == ".json" else _from_txt(path)
        question_single_name(text, (*packaged_vocabularies(), *_IMAGENETS))
        return cls.from_entries(split_concepts(text))

    @classmethod
    def from_entries(cls, entries: Iterable[str], name: str = "custom") -> Vocabulary:
        """A vocabulary with a concept per entry, whose names are separated by commas: ``["building, edifice", "sky"]``.

        Raises:
            VocabularyError: there is no entry, one has no name, or a first name occurs twice.
        """
        return _of_free_names(name, [without_repeats(split_names(entry)) for entry in checked_entries(entries)])

    @classmethod
    def from_names(cls, names: Iterable[str], name: str = "custom") -> Vocabulary:
        """A vocabulary of arbitrary names, with ids from 1.

        A name is a thing or stuff as in COCO, or else as in the first packaged vocabulary that has it; a name that is
        in none of them is a thing.

        Raises:
            VocabularyError: there is no name, or one occurs twice.
        """
        return _of_free_names(name, [(n,) for n in names])


def _concept(category: Mapping[str, Any]) -> Concept:
    return Concept(
        field(category, "id", whole),
        " ".join(field(category, "name", nonblank).split()),
        field(category, "isthing", flag),
        field(category, "synonyms", _synonyms, ()),
    )


def load_training_vocabulary(spec: str | Path | Vocabulary | Iterable[str]) -> Vocabulary:
    """A vocabulary that a network was trained with, see :meth:`Vocabulary.load`.

    Raises:
        VocabularyError: it cannot be read, or is a single word, which is a mistyped name of a vocabulary.
    """
    vocabulary = Vocabulary.load(spec)
    if isinstance(spec, str) and vocabulary.names == (spec.strip(),):
        packaged = packaged_vocabularies()
        meant = did_you_mean(closest(spec, packaged)) or f": the packaged ones are {', '.join(packaged)}"
        raise VocabularyError(f"training vocabulary '{spec}' is neither a packaged vocabulary nor a file{meant}")
    return vocabulary


def _synonyms(value: Any) -> tuple[str, ...]:
    try:
        return tuple(" ".join(nonblank(name).split()) for name in items(value))
    except TypeError:
        raise TypeError("a list of names") from None


def packaged_vocabularies() -> tuple[str, ...]:
    """Names of the packaged vocabularies."""
    folder = resources.files("opsnet.vocabulary") / "lists"
    return tuple(sorted(f.name.removesuffix(".json") for f in folder.iterdir() if f.name.endswith(".json")))


@cache
def _packaged(name: str) -> Vocabulary:
    text = (resources.files("opsnet.vocabulary") / "lists" / f"{name}.json").read_text(encoding="utf-8")
    return Vocabulary.from_categories(name, json.loads(text)["categories"])


def _from_json(path: Path) -> Vocabulary:
    try:
        content = read_json(path)
        if isinstance(content, list) and content and all(isinstance(entry, str) for entry in content):
            return Vocabulary.from_entries(content, path.stem)
        vocabulary = Vocabulary.from_categories(path.stem, content["categories"])
    except FileError as error:
        raise VocabularyError(f"vocabulary file {path} {error}") from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, VocabularyError):
            raise VocabularyError(f"vocabulary file {path}: {error}") from error
        raise VocabularyError(
            f'vocabulary file {path} is not of the form {{"categories": [{{"id", "name", "isthing"}}]}} or '
            f'["name", "name, synonym"]: {error!r}'
        ) from error
    _refuse_repeated(vocabulary.name, "name", vocabulary.names)
    return vocabulary


def _from_txt(path: Path) -> Vocabulary:
    rows = read_rows(path)
    keyed = {row.id: row.names for row in rows if row.id is not None}
    if not keyed:
        return _of_free_names(path.stem, [row.names for row in rows])
    kinds = _kinds_by_id(keyed)
    return Vocabulary(path.stem, tuple(Concept(i, n[0], kinds[i], n[1:]) for i, n in keyed.items()))


def _kinds_by_id(keyed: Mapping[int, tuple[str, ...]]) -> dict[int, bool]:
    """Thing or stuff as in the packaged vocabulary of the same classes, or else by name."""
    for v in map(_packaged, packaged_vocabularies()):
        if len(v) == len(keyed) and (ids := ids_of_classes(keyed, {c.id: c.names for c in v.concepts})):
            return dict(zip(ids, v.is_thing))
    return {i: is_known_thing(names[0]) for i, names in keyed.items()}


def _renamed(vocabulary: Vocabulary, path: Path) -> Vocabulary:
    """A packaged vocabulary with the names that a published list gives its classes."""
    keyed = {row.id: row.names for row in read_rows(path) if row.id is not None}
    ids = ids_of_classes(keyed, {c.id: c.names for c in vocabulary.concepts})
    if ids is None:
        raise VocabularyError(
            f"{path} does not list the classes of vocabulary '{vocabulary.name}': write lines 'id:name,synonym' with "
            f"its ids, {min(vocabulary.ids)} to {max(vocabulary.ids)}, or in its order with 0 to {len(vocabulary) - 1}"
        )
    rows = [(c, keyed[i]) for c, i in zip(vocabulary.concepts, ids)]
    return Vocabulary(path.stem, tuple(Concept(c.id, n[0], c.is_thing, n[1:]) for c, n in rows))


def _of_free_names(name: str, rows: list[tuple[str, ...]]) -> Vocabulary:
    _refuse_repeated(name, "name", [names[0] for names in rows])
    return Vocabulary(name, tuple(Concept(i, n[0], is_known_thing(n[0]), n[1:]) for i, n in enumerate(rows, start=1)))


def _refuse_repeated(vocabulary: str, kind: str, values: Iterable[int | str]) -> None:
    seen: set[int | str] = set()
    for value in values:
        key = value.casefold() if isinstance(value, str) else value
        if key in seen:
            raise VocabularyError(f"vocabulary '{vocabulary}' has the {kind} '{key}' twice: remove one of them")
        seen.add(key)


# The first that has a name determines its kind; the others, such as the synthetic world's, follow in any order.
_THING_OR_STUFF = ("coco", "ade20k", "cityscapes", "mapillary_vistas", "pascal_context", "lvis_1203", "coco_stuff_171")


def is_known_thing(name: str) -> bool:
    """Whether a name is a thing, see :meth:`Vocabulary.from_names`."""
    return _known_kinds().get(name.casefold(), True)


@cache
def _known_kinds() -> dict[str, bool]:
    others = [name for name in packaged_vocabularies() if name not in _THING_OR_STUFF]
    kinds: dict[str, bool] = {}
    for vocabulary in (_packaged(name) for name in (*_THING_OR_STUFF, *others)):
        if any(vocabulary.is_thing):  # a list without things, as CamVid's, does not tell things from stuff
            for concept in vocabulary.concepts:
                kinds.setdefault(concept.name.casefold(), concept.is_thing)
    return kinds


_IMAGENETS = ("imagenet1k", "imagenet21k")


@cache
def _imagenet(name: str) -> Vocabulary:
    """ImageNet's classes: the 1,000 with open_clip's names and ids from 0, or the 21,843 with lemmas, by synset."""
    if name == "imagenet1k":
        from open_clip.zero_shot_metadata import IMAGENET_CLASSNAMES

        return Vocabulary(name, tuple(Concept(i, n, is_known_thing(n)) for i, n in enumerate(IMAGENET_CLASSNAMES)))
    from timm.data import ImageNetInfo

    info = ImageNetInfo("imagenet-21k")
    return _of_synsets(name, [(int(s[1:]), split_names(info.label_name_to_description(s))) for s in info.label_names()])


def _of_synsets(name: str, synsets: Iterable[tuple[int, list[str]]]) -> Vocabulary:
    """Concepts with WordNet offsets as ids; several may share a name, as different senses do."""
    rows = [(offset, without_repeats(names)) for offset, names in synsets]
    return Vocabulary(name, tuple(Concept(offset, n[0], is_known_thing(n[0]), n[1:]) for offset, n in rows))
