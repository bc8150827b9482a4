"""What prediction returns: panoptic maps whose segments carry their class names, scores and boxes."""

from __future__ import annotations

from dataclasses import dataclass

from opsnet.structures import PanopticMap, Segment
from opsnet.vocabulary import Vocabulary

UNKNOWN = "unknown"


@dataclass(frozen=True)
class NameScore:
    """One name that a segment may have.

    Attributes:
        label: index into the map's vocabulary.
        id: the concept's id there; two concepts may share a name, as WordNet's senses do, but not an id.
        name: its first name.
        score: probability in 0..1 among all names and no-object; in a path, among the siblings of a level.
        synonyms: its further names.
    """

    label: int
    id: int
    name: str
    score: float
    synonyms: tuple[str, ...] = ()


@dataclass(frozen=True)
class NamedSegment(Segment):
    """A segment with its name.

    Attributes:
        name: of its label in the map's vocabulary.
        box: left, top, width and height in pixels.
        top: the best names, best first; the first is ``name``'s unless the segment is unknown or named by a tree.
        path: from the coarsest level to ``name``, where the names came from a tree.
    """

    name: str = ""
    box: tuple[int, int, int, int] = (0, 0, 0, 0)
    top: tuple[NameScore, ...] = ()
    path: tuple[NameScore, ...] = ()


@dataclass(frozen=True)
class NamedMap(PanopticMap):
    """A panoptic map (H, W) of one picture with its names.

    Attributes:
        segments: with names, scores and boxes.
        vocabulary: what the labels index; where unknown segments were asked for, its last concept is "unknown".
    """

    segments: tuple[NamedSegment, ...]
    vocabulary: Vocabulary
