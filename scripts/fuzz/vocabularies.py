"""Vocabulary files: .txt and .json."""

from __future__ import annotations

import json
import re
from pathlib import Path
from random import Random

from opsnet.vocabulary import Vocabulary
from scripts.fuzz import seeds
from scripts.fuzz.cases import Case, Untrue
from scripts.fuzz.mutation import damaged_text, mutated_json
from scripts.fuzz.yolo import changed_words

NAMES = ("vocabulary",)
_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
TEXTS = ("cat, kitten\ngrass\n# dogs\ndog\n", "0:cat,kitten\n1:grass\n2:invalid_class_id\n", "1: cat\n", "cat\n")


def case(seed: int) -> Case:
    """A vocabulary file, changed."""
    rng = Random(seed)
    if rng.random() < 0.5:
        whole = rng.choice([{"categories": seeds.CATEGORIES}, ["cat, kitten", "grass", "dog"], seeds.panoptic()])
        return Case({"v.json": mutated_json(rng, whole)})
    text = rng.choice(TEXTS)
    return Case({"v.txt": damaged_text(rng, text) if rng.random() < 0.3 else changed_words(rng, text).encode()})


def run(given: Case, folder: Path) -> None:
    """Reads it.

    Raises:
        VocabularyError: it is refused.
        Untrue: what was read cannot be used.
    """
    given.write(folder)
    (name,) = given.files
    check(Vocabulary.load(str(folder / name)))


def check(vocabulary: Vocabulary) -> None:
    """Whether a vocabulary that was read can be printed, stored and read again.

    Raises:
        Untrue: it cannot.
    """
    if not all(name.strip() and not _CONTROL.search(name) for concept in vocabulary.concepts for name in concept.names):
        raise Untrue(f"names that cannot be shown: {vocabulary.names[:3]!r}")
    try:
        stored = json.dumps(vocabulary.categories(), ensure_ascii=False).encode("utf-8")
    except (UnicodeError, ValueError) as error:
        raise Untrue(f"a vocabulary that cannot be stored: {error}") from error
    if Vocabulary.from_categories(vocabulary.name, json.loads(stored)) != vocabulary:
        raise Untrue("a vocabulary that is another when it is read again")
