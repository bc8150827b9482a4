"""Vocabularies: concepts with their names, trees of them, and WordNet; the packaged ones lie in ``lists``."""

from opsnet.vocabulary.vocabulary import Concept, Vocabulary

__all__ = ["Concept", "Vocabulary"]
