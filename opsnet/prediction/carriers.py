"""What prediction hands out: the network's answer before any words, and maps whose segments carry their names."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from opsnet.structures import Embeddings, PanopticMap, Proposals, Segment
from opsnet.vocabulary import Vocabulary

UNKNOWN = "unknown"


@dataclass(frozen=True)
class Proposed:
    """What the network said of a batch of pictures, on its device; naming it costs no further pass.

    Attributes:
        pictures: the pictures as they were given, (H, W, 3) uint8 RGB each.
        proposals: masks (B, K, h, w) and predicted IoU (B, K).
        embeddings: trained and pooled CLIP embeddings, (B, K, D) each.
        padded: (height, width) in pixels that the network saw.
        valid_sizes: (height, width) in pixels of each picture inside the padding.
    """

    pictures: tuple[NDArray[np.uint8], ...]
    proposals: Proposals
    embeddings: Embeddings
    padded: tuple[int, int]
    valid_sizes: tuple[tuple[int, int], ...]

    def __len__(self) -> int:
        return len(self.pictures)

    def size(self, index: int) -> tuple[int, int]:
        """(height, width) in pixels of an image as it was given, which its map has."""
        height, width = self.pictures[index].shape[:2]
        return height, width


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
