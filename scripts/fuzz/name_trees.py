"""Trees of names in YAML."""

from __future__ import annotations

from pathlib import Path
from random import Random

from opsnet.vocabulary.name_tree import NameTree
from scripts.fuzz.cases import Case, Untrue
from scripts.fuzz.mutation import damaged_text
from scripts.fuzz.vocabularies import check
from scripts.fuzz.yolo import BOMB, changed_words

NAMES = ("tree",)
TREE = 'thing:\n  animal:\n    cat, house cat: [siamese cat, tabby]\n    dog:\n  car:\nstuff: [sky, "water, sea"]\n'


def case(seed: int) -> Case:
    """A tree, changed; sometimes one that grows when its aliases are followed, or is nested deeply."""
    rng = Random(seed)
    kind = rng.random()
    if kind < 0.02:
        return Case({"t.yaml": (BOMB + "thing: *i\n").encode()})
    if kind < 0.04:
        depth = rng.choice([50, 150, 3000])
        return Case({"t.yaml": b"".join(b" " * n + b"x%d:\n" % n for n in range(depth))})
    if kind < 0.2:
        return Case({"t.yaml": damaged_text(rng, TREE)})
    return Case({"t.yaml": changed_words(rng, TREE).encode()})


def run(given: Case, folder: Path) -> None:
    """Reads it.

    Raises:
        VocabularyError: it is refused.
        Untrue: a node comes before its parent.
    """
    given.write(folder)
    tree = NameTree.load(str(folder / "t.yaml"))
    if not all(parent < node for node, parent in enumerate(tree.parent)):
        raise Untrue("a node comes before its parent")
    check(tree.word_vocabulary)
