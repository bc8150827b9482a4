"""Subtrees of WordNet, by nltk."""

from __future__ import annotations

from collections import Counter
from typing import Any

from opsnet.utils.errors import InputError


class WordNetError(InputError):
    """WordNet is not there or has no such synset; the message says how to get it or what to write."""


def subtree(name: str) -> list[tuple[int, list[str]]]:
    """Offset and lemmas of each synset of :func:`tree`."""
    return [(offset, lemmas) for offset, lemmas, _ in tree(name)]


def tree(name: str) -> list[tuple[int, list[str], int]]:
    """A synset and everything below it, nearest first; individuals ("Rin Tin Tin") are left out.

    A synset with several hypernyms stands once, below the most specific: the dog is a domestic animal and a canine, and
    the canine has more above it.

    Args:
        name: as nltk has it, e.g. ``animal.n.01``.

    Returns:
        Offset (WordNet 3.0's: ImageNet's ids are the same) and lemmas of each synset, and which row its hypernym is:
        an earlier one, -1 for the first.

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
    for index, (synset, _) in enumerate(rows):  # it grows while it is read: breadth first
        rows += [(child, index) for child in below.get(synset, ())]
    return [(s.offset(), [lemma.replace("_", " ") for lemma in s.lemma_names()], above) for s, above in rows]


def _by_main_hypernym(root: Any) -> dict[Any, list[Any]]:
    """The synsets below ``root``, each under that of its hypernyms from which the longest way leads up to ``root``."""
    hyponyms = {root: root.hyponyms()}
    for synset in root.closure(lambda synset: synset.hyponyms()):
        hyponyms[synset] = synset.hyponyms()
    waiting = Counter(child for children in hyponyms.values() for child in children)
    main: dict[Any, Any] = {}
    ready = [root]  # those whose hypernyms have all been seen, so that the last of them is the farthest from the root
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
