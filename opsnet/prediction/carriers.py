"""Results of prediction: panoptic maps whose segments have class names, scores and boxes."""

from __future__ import annotations

from dataclasses import dataclass

from opsnet.structures import PanopticMap, Segment
from opsnet.vocabulary import Vocabulary

UNKNOWN = "unknown"


@dataclass(frozen=True)
class NameScore:
    """A candidate name of a segment with its score.

    Attributes:
        label: index into the map's vocabulary.
        id: the concept's id; two concepts may share a name, like WordNet senses, but not an id.
        name: the concept's first name.
        score: probability in 0..1 among all names and no-object; in a path, among the siblings of a level.
        synonyms: the concept's other names.
        cosine: with the embedding of the segment that the recognizer compares names with, in -1..1, of the synonym that
            fits best; ``None`` if it was not computed.
    """

    label: int
    id: int
    name: str
    score: float
    synonyms: tuple[str, ...] = ()
    cosine: float | None = None


@dataclass(frozen=True)
class NamedSegment(Segment):
    """A segment with its class name.

    Attributes:
        name: name of its label in the map's vocabulary.
        box: left, top, width and height in pixels.
        top: the best names, best first; the first is ``name`` unless the segment is unknown or was labelled by a tree.
        path: from the coarsest level to ``name``, if the names form a tree.
    """

    name: str = ""
    box: tuple[int, int, int, int] = (0, 0, 0, 0)
    top: tuple[NameScore, ...] = ()
    path: tuple[NameScore, ...] = ()


@dataclass(frozen=True)
class NamedMap(PanopticMap):
    """A panoptic map (H, W) of one image with class names.

    Attributes:
        segments: segments with names, scores and boxes.
        vocabulary: the vocabulary that labels index; if unknown segments were requested, its last concept is "unknown".
        warnings: what a user should know before trusting the map, see :mod:`opsnet.prediction.cautions`.
    """

    segments: tuple[NamedSegment, ...]
    vocabulary: Vocabulary
    warnings: tuple[UserWarning, ...] = ()
