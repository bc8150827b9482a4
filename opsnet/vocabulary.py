"""Vocabularies: the ordered names that segments can carry, each a thing or stuff."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any

from opsnet.errors import InputError


class VocabularyError(InputError):
    """A vocabulary that cannot be read or used; the message names it and the fix."""


@dataclass(frozen=True)
class Concept:
    """One entry of a vocabulary.

    Attributes:
        id: the dataset's category id.
        name: the name that CLIP's text encoder sees and reports print.
        is_thing: thing (countable) or stuff.
    """

    id: int
    name: str
    is_thing: bool


@dataclass(frozen=True)
class Vocabulary:
    """An ordered list of concepts; a label is an index into it.

    Raises:
        VocabularyError: it is empty, or a name or id appears twice.
    """

    name: str
    concepts: tuple[Concept, ...]

    def __post_init__(self) -> None:
        if not self.concepts:
            raise VocabularyError(
                f"vocabulary '{self.name}' is empty: give at least one name, e.g. vocabulary='cat, grass'"
            )
        for kind, values in (("name", [c.name.lower() for c in self.concepts]), ("id", [c.id for c in self.concepts])):
            seen: set = set()
            for value in values:
                if value in seen:
                    raise VocabularyError(
                        f"vocabulary '{self.name}' has the {kind} '{value}' twice: remove one of them"
                    )
                seen.add(value)

    def __len__(self) -> int:
        return len(self.concepts)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names, in order."""
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

    @classmethod
    def load(cls, spec: str | Path) -> Vocabulary:
        """Reads a vocabulary.

        Args:
            spec: a packaged vocabulary's name (``coco``, ``scenes``), a path to a .json or .txt file (one
                name a line), or a comma list of names.

        Raises:
            VocabularyError: nothing of that name, an unreadable file, or no usable names in it.
        """
        text = str(spec).strip()
        if not text:
            raise VocabularyError("the vocabulary is empty: give at least one name, e.g. vocabulary='cat, grass'")
        if text in packaged_vocabularies():
            return cls._from_json(resources.files("opsnet") / "vocabularies" / f"{text}.json", text)
        path = Path(text).expanduser()
        if path.suffix in (".json", ".txt"):
            if not path.is_file():
                raise VocabularyError(f"vocabulary file {path} does not exist: check the path")
            if path.suffix == ".json":
                return cls._from_json(path, path.stem)
            try:
                lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
            except UnicodeDecodeError as error:
                raise VocabularyError(
                    f"vocabulary file {path} is not UTF-8 text ({error}): save it as UTF-8"
                ) from error
            return cls.from_names([line for line in lines if line and not line.startswith("#")], name=path.stem)
        if "," not in text and "/" in text:
            raise VocabularyError(f"vocabulary '{text}' is no file that ends in .json or .txt: check the path")
        return cls.from_names([word.strip() for word in text.split(",") if word.strip()], name="custom")

    @classmethod
    def from_names(cls, names: list[str], name: str = "custom") -> Vocabulary:
        """A vocabulary of free names; known stuff names of the packaged vocabularies are stuff, the rest things."""
        stuff = _known_stuff()
        return cls(name, tuple(Concept(i + 1, n, n.lower() not in stuff) for i, n in enumerate(names)))

    @classmethod
    def _from_json(cls, path: Any, name: str) -> Vocabulary:
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            concepts = tuple(Concept(int(c["id"]), str(c["name"]), bool(c["isthing"])) for c in data["categories"])
        except (json.JSONDecodeError, KeyError, TypeError, ValueError) as error:
            raise VocabularyError(
                f'vocabulary file {path} is not of the form {{"categories": [{{"id", "name", "isthing"}}]}}: {error!r}'
            ) from error
        return cls(name, concepts)


def packaged_vocabularies() -> tuple[str, ...]:
    """Names of the vocabularies that travel with the package."""
    folder = resources.files("opsnet") / "vocabularies"
    return tuple(sorted(f.name.removesuffix(".json") for f in folder.iterdir() if f.name.endswith(".json")))


def _known_stuff() -> set[str]:
    vocabularies = (Vocabulary.load(name) for name in packaged_vocabularies())
    return {c.name.lower() for v in vocabularies for c in v.concepts if not c.is_thing}
