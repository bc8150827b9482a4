"""Vocabularies typed as a text, or given as a list in Python."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from random import Random

from opsnet.utils.errors import InputError
from opsnet.vocabulary import Vocabulary
from opsnet.vocabulary.vocabulary import load_training_vocabulary
from scripts.fuzz.cases import Case
from scripts.fuzz.vocabularies import check
from scripts.fuzz.yolo import changed_words

NAMES = ("vocabulary", "class names", "WordNet")
TEXTS = (
    "cat, dog, grass", '["cat", "dog, hound"]', "[cat, dog]", "cat; dog\ngrass", "coco", "cocoo", "cityscapes:x.txt",
    "wordnet:animal.n.01", "tv/monitor", "imagenet1k", "a.txt", "~/x", "[]", "[1]", "[null]", "[[", '["\\ud800"]', "{}",
    '{"categories": []}', "cat,,dog", ",", ";", "\n", "cat\0dog", "x" * 5000, "[" * 3000, "[" + "9" * 5000 + "]",
    "~nobody/x",
)  # fmt: skip
ENTRIES = ("cat", "dog, hound", "", " ", ",", None, 3, b"cat", ["cat"], "cat\ndog", "\ud800", "a\0b", "Cat", "x" * 3000)


def warm_up() -> None:
    """Loads nltk, timm and open_clip."""
    for spec in ("imagenet1k", "imagenet21k", "wordnet:animal.n.01"):
        with suppress(InputError):  # WordNet may not be installed
            Vocabulary.load(spec)


def case(seed: int) -> Case:
    """A text, changed, or a list of entries."""
    rng = Random(seed)
    if rng.random() < 0.3:
        return Case(arguments={"spec": [rng.choice(ENTRIES) for _ in range(rng.randrange(5))]})
    text = rng.choice(TEXTS)
    return Case(arguments={"spec": changed_words(rng, text) if rng.random() < 0.7 else text})


def run(given: Case, folder: Path) -> None:
    """Reads it as target and as training vocabulary.

    Raises:
        VocabularyError: it is refused.
    """
    spec = given.arguments["spec"]
    check(Vocabulary.load(spec))
    load_training_vocabulary(spec)
