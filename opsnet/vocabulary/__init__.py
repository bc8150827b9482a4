"""Vocabularies: concepts with their names, name trees, and WordNet; packaged vocabularies are in ``lists``."""

from opsnet.vocabulary.vocabulary import Concept, Vocabulary

__all__ = ["Concept", "Vocabulary"]
