"""Subtrees of WordNet, via nltk."""

from __future__ import annotations

from collections import Counter
from typing import Any

from opsnet.utils.errors import InputError


class WordNetError(InputError):
    """WordNet is not installed or has no such synset; the message says how to install it or what to write."""


def subtree(name: str) -> list[tuple[int, list[str]]]:
    """Offset and lemmas of each synset of :func:`tree`."""
    return [(offset, lemmas) for offset, lemmas, _ in tree(name)]


def tree(name: str) -> list[tuple[int, list[str], int]]:
    """A synset and everything below it, breadth first; instances ("Rin Tin Tin") are left out.

    A synset with several hypernyms is listed once, below the most specific one: a dog is a domestic animal and a
    canine, and the canine is deeper in the hierarchy.

    Args:
        name: nltk's name of the synset, e.g. ``animal.n.01``.

    Returns:
        Offset (in WordNet 3.0, which equals ImageNet's id) and lemmas of each synset, and the row of its hypernym: an
        earlier row, or -1 for the first.

    Raises:
        WordNetError: nltk or WordNet's files are missing, or there is no such synset.
    """
    try:
        from nltk.corpus import wordnet
        from nltk.corpus.reader.wordnet import WordNetError as NoSuchSynset
    except ImportError as error:
        raise WordNetError("wordnet: vocabularies need nltk, which is not installed: pip install nltk") from error
    try:
        root = wordnet.synset(name)
    except LookupError as error:
        raise WordNetError(
            f"vocabulary wordnet:{name} needs WordNet's files, which nltk does not find: run "
            "opsnet-prepare wordnet, or set NLTK_DATA to the folder that holds corpora/wordnet"
        ) from error
    except (NoSuchSynset, ValueError) as error:
        raise WordNetError(f"WordNet has no synset '{name}': write one like wordnet:animal.n.01") from error
    rows, below = [(root, -1)], _by_main_hypernym(root)
    for index, (synset, _) in enumerate(rows):  # the list grows during iteration: breadth first
        rows += [(child, index) for child in below.get(synset, ())]
    return [(s.offset(), [lemma.replace("_", " ") for lemma in s.lemma_names()], above) for s, above in rows]


def _by_main_hypernym(root: Any) -> dict[Any, list[Any]]:
    """The synsets below ``root``, each assigned to its hypernym with the longest path to ``root``."""
    hyponyms = {root: root.hyponyms()}
    for synset in root.closure(lambda synset: synset.hyponyms()):
        hyponyms[synset] = synset.hyponyms()
    waiting = Counter(child for children in hyponyms.values() for child in children)
    main: dict[Any, Any] = {}
    ready = [root]  # synsets whose hypernyms have all been visited; the last of these is the farthest from the root
    while ready:
        following = []
        for synset in ready:
            for child in hyponyms[synset]:
                waiting[child] -= 1
                if not waiting[child]:
                    main[child] = synset
                    following.append(child)
        ready = following
    below: dict[Any, list[Any]] = {}
    for child, synset in main.items():
        below.setdefault(synset, []).append(child)
    return below
