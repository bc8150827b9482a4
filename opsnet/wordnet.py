"""Subtrees of WordNet, by nltk."""

from __future__ import annotations

from opsnet.errors import InputError


class WordNetError(InputError):
    """WordNet is not there or has no such synset; the message says how to get it or what to write."""


def subtree(name: str) -> list[tuple[int, list[str]]]:
    """A synset and everything below it, nearest first; individuals ("Rin Tin Tin") are left out.

    Args:
        name: as nltk has it, e.g. ``animal.n.01``.

    Returns:
        Offset (WordNet 3.0's: ImageNet's ids are the same) and lemmas of each synset.

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
    found = {root: None, **dict.fromkeys(root.closure(lambda synset: synset.hyponyms()))}
    return [(s.offset(), [lemma.replace("_", " ") for lemma in s.lemma_names()]) for s in found]
