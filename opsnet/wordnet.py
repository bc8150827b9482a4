"""Subtrees of WordNet, by nltk."""

from __future__ import annotations

from opsnet.errors import InputError


class WordNetError(InputError):
    """WordNet is not there or has no such synset; the message says how to get it or what to write."""


def subtree(name: str) -> list[tuple[int, list[str]]]:
    """Offset and lemmas of each synset of :func:`tree`."""
    return [(offset, lemmas) for offset, lemmas, _ in tree(name)]


def tree(name: str) -> list[tuple[int, list[str], int]]:
    """A synset and everything below it, nearest first; individuals ("Rin Tin Tin") are left out.

    A synset with several hypernyms stands once, below the one nearest to the top.

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
            "python -m nltk.downloader wordnet (or scripts/prepare_wordnet.py of the source, which also takes "
            "Debian's packages), or set NLTK_DATA to the folder that holds corpora/wordnet"
        ) from error
    except (NoSuchSynset, ValueError) as error:
        raise WordNetError(f"WordNet has no synset '{name}': write one like wordnet:animal.n.01") from error
    rows, place = [(root, -1)], {root: 0}
    for index, (synset, _) in enumerate(rows):  # it grows while it is read: breadth first
        for below in synset.hyponyms():
            if below not in place:
                place[below] = len(rows)
                rows.append((below, index))
    return [(s.offset(), [lemma.replace("_", " ") for lemma in s.lemma_names()], above) for s, above in rows]
