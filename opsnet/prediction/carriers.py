"""Results of prediction: panoptic maps whose segments have class names, scores and boxes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from opsnet.structures import PanopticMap, Segment
from opsnet.vocabulary import Vocabulary

UNKNOWN = "unknown"
MaskId: TypeAlias = int | str
REASONS = ("empty", "covered", "score")
"""Why a given mask is in no segment: it has no pixel, others are in front of all of it, or the filter dropped it."""


@dataclass(frozen=True)
class NameScore:
    """A candidate name of a segment with its score.

    Attributes:
        label: index into the map's vocabulary.
        id: the concept's id; two concepts may share a name, like WordNet senses, but not an id.
        name: the concept's first name.
        score: probability in 0..1 among all names and no-object; in a path, among the siblings of a level.
        synonyms: the concept's other names.
    """

    label: int
    id: int
    name: str
    score: float
    synonyms: tuple[str, ...] = ()


@dataclass(frozen=True)
class NamedSegment(Segment):
    """A segment with its class name.

    Attributes:
        name: name of its label in the map's vocabulary.
        box: left, top, width and height in pixels.
        top: the best names, best first; the first is ``name`` unless the segment is unknown or was labelled by a tree.
        path: from the coarsest level to ``name``, if the names form a tree.
        source_ids: ids of the given masks of which it consists; empty if the network found it.
    """

    name: str = ""
    box: tuple[int, int, int, int] = (0, 0, 0, 0)
    top: tuple[NameScore, ...] = ()
    path: tuple[NameScore, ...] = ()
    source_ids: tuple[MaskId, ...] = ()


@dataclass(frozen=True)
class DroppedMask:
    """A given mask that is in no segment.

    Attributes:
        source_id: its id.
        reason: one of :data:`REASONS`.
    """

    source_id: MaskId
    reason: str


@dataclass(frozen=True)
class NamedMap(PanopticMap):
    """A panoptic map (H, W) of one image with class names.

    Attributes:
        segments: segments with names, scores and boxes.
        vocabulary: the vocabulary that labels index; if unknown segments were requested, its last concept is "unknown".
        hidden: proposals that passed the filter and have no pixel, because others are in front.
        dropped: given masks that are in no segment.
    """

    segments: tuple[NamedSegment, ...]
    vocabulary: Vocabulary
    hidden: tuple[int, ...] = field(default=(), compare=False)
    dropped: tuple[DroppedMask, ...] = ()
