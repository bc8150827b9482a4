"""The carriers that cross the walls between parts of OPSNet, and the legend of their shapes.

Shape legend, used as letters in every docstring of the package:

====== =================================================================
``B``  batch (images)
``K``  proposals (queries) of one image
``D``  dimensions of the CLIP embedding space (1024 for RN50)
``M``  names of the target vocabulary (the one predicted with)
``N``  names of the training vocabulary
``G``  ground-truth segments of one image
``H W`` height and width of an image in pixels
``h w`` height and width of a mask or feature map
====== =================================================================

All carriers are frozen: a part answers with a new one and never changes what it was handed.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

SIZE_DIVISOR = 32  # pixels, of the sides of a padded image: the coarsest stride of any backbone


@dataclass(frozen=True)
class SegmentTargets:
    """Ground-truth segments of a batch, without crowd and void.

    Attributes:
        masks: one bool tensor (G, H, W) an image, at the padded batch size.
        labels: one int64 tensor (G,) an image, indices into the batch's vocabulary.
    """

    masks: list[Tensor]
    labels: list[Tensor]


@dataclass(frozen=True)
class ImageLabels:
    """Image-level multi-labels of a batch: one int64 tensor (any length) an image."""

    labels: list[Tensor]


@dataclass(frozen=True)
class Batch:
    """Images with their targets; all share one vocabulary.

    Attributes:
        images: (B, 3, H, W) float, RGB in 0..1, padded at the right and bottom with zeros.
        valid_sizes: (height, width) in pixels of each image inside the padding.
        original_sizes: (height, width) in pixels of each image file before it was resized, in evaluation and
            prediction; empty in training, where images are cropped.
        image_ids: the dataset's id of each image.
        vocabulary: name of the vocabulary that target labels index.
        targets: its type picks the criterion; ``None`` at prediction.
        panoptic: per image, ground truth for scoring (see ``GroundTruth``), or empty in training.
    """

    images: Tensor
    valid_sizes: list[tuple[int, int]]
    image_ids: list[int | str]
    vocabulary: str
    targets: SegmentTargets | ImageLabels | None = None
    panoptic: list[GroundTruth] = field(default_factory=list)
    original_sizes: list[tuple[int, int]] = field(default_factory=list)

    @property
    def map_sizes(self) -> list[tuple[int, int]]:
        """(height, width) in pixels of each image's panoptic map: the original size where it is known."""
        return self.original_sizes or self.valid_sizes

    def to(self, device: torch.device | str) -> Batch:
        """The same batch with every tensor on ``device``."""
        return _move(self, device)


@dataclass(frozen=True)
class GroundTruth:
    """Ground truth of one image as panopticapi scores it.

    Attributes:
        ids: (H, W) int64 segment ids, 0 = void.
        segments: every segment, crowd included.
    """

    ids: Tensor
    segments: tuple[Segment, ...]


@dataclass(frozen=True)
class Segment:
    """One segment of a panoptic map.

    Attributes:
        id: its value in the id map (> 0).
        label: index into the vocabulary.
        is_thing: thing (countable) or stuff.
        score: confidence in 0..1 (1 for ground truth).
        area: pixels.
        iou: predicted IoU of the mask in 0..1 (1 for ground truth).
        is_crowd: a region of several objects that scoring ignores (ground truth only).
        covered: pixels of its mask that other segments hide in the map (ground truth only; ADE20K). They count in IoU.
        proposal: which of the merged proposals it is, the best of them for stuff (predictions only).
    """

    id: int
    label: int
    is_thing: bool
    score: float = 1.0
    area: int = 0
    iou: float = 1.0
    is_crowd: bool = False
    covered: int = 0
    proposal: int | None = field(default=None, compare=False)


@dataclass(frozen=True)
class LayerQueries:
    """What the heads say of the queries after one decoder layer.

    Attributes:
        mask_embeds: (B, K, C); a mask is their product with the pixel embeddings.
        query_embeds: (B, K, D), not normalised.
        iou: (B, K) predicted mask IoU in 0..1.
    """

    mask_embeds: Tensor
    query_embeds: Tensor
    iou: Tensor


@dataclass(frozen=True)
class DeepSupervision:
    """What every decoder layer answers; masks stay factored, because a loss reads few of them, or few of their points.

    Attributes:
        layers: the queries before the first layer and after each; the last layer's last.
        pixels: (B, C, h, w), the pixel embeddings that all of them share.
    """

    layers: tuple[LayerQueries, ...]
    pixels: Tensor

    def mask_logits(self) -> list[Tensor]:
        """The masks of every layer in full, each (B, K, h, w)."""
        return [compute_mask_logits(layer.mask_embeds, self.pixels) for layer in self.layers]


def compute_mask_logits(mask_embeds: Tensor, pixels: Tensor) -> Tensor:
    """Mask embeddings (B, K, C) and pixel embeddings (B, C, h, w) -> mask logits (B, K, h, w)."""
    table = pixels.permute(0, 2, 3, 1).flatten(1, 2)  # (B, h * w, C): a view in PyTorch's both memory formats
    return (mask_embeds @ table.mT).unflatten(-1, pixels.shape[-2:])


@dataclass(frozen=True)
class Proposals:
    """Class-agnostic masks and trained embeddings: what the segmenter answers.

    Attributes:
        mask_logits: (B, K, h, w).
        query_embeds: (B, K, D), not normalised.
        iou: (B, K) predicted mask IoU in 0..1.
        supervision: the same of every decoder layer, in training.
    """

    mask_logits: Tensor
    query_embeds: Tensor
    iou: Tensor
    supervision: DeepSupervision | None = None

    def to(self, device: torch.device | str) -> Proposals:
        """The same proposals with every tensor on ``device``."""
        return _move(self, device)


@dataclass(frozen=True)
class Embeddings:
    """Both descriptions of each proposal: ``query`` and ``clip``, both (B, K, D), not normalised."""

    query: Tensor
    clip: Tensor


@dataclass(frozen=True)
class TextBank:
    """A vocabulary's names as CLIP text embeddings.

    Attributes:
        name: the vocabulary's name.
        names: of M concepts.
        is_thing: (M,) bool.
        embeds: (R, D), L2-normalised, R >= M: the rows of a concept's names, concept by concept.
        concept: (R,) int64, the concept of each row; ``None`` where every concept has one name (R = M).
    """

    name: str
    names: tuple[str, ...]
    is_thing: Tensor
    embeds: Tensor
    concept: Tensor | None = None

    def __post_init__(self) -> None:
        rows = len(self.names) if self.concept is None else len(self.concept)
        if self.embeds.ndim != 2 or self.embeds.shape[0] != rows or self.is_thing.shape != (len(self.names),):
            raise ValueError(
                f"TextBank '{self.name}': {len(self.names)} names need embeds ({rows}, D) and is_thing "
                f"({len(self.names)},), got {tuple(self.embeds.shape)} and {tuple(self.is_thing.shape)}"
            )

    def max_per_concept(self, values: Tensor) -> Tensor:
        """Values of the rows, (..., R) -> of the concepts, (..., M): the largest of each one's names."""
        if self.concept is None:
            return values
        best = values.new_full((*values.shape[:-1], len(self.names)), -math.inf)
        return best.scatter_reduce(-1, self.concept.expand_as(values), values, "amax")

    def select(self, concepts: Tensor) -> TextBank:
        """The bank of some concepts alone, int64 (C,) in rising order, in that order."""
        names, is_thing = tuple(self.names[i] for i in concepts.tolist()), self.is_thing[concepts]
        if self.concept is None:
            return TextBank(self.name, names, is_thing, self.embeds[concepts])
        rows = torch.isin(self.concept, concepts)
        return TextBank(self.name, names, is_thing, self.embeds[rows], torch.searchsorted(concepts, self.concept[rows]))

    def concept_of_row(self) -> Tensor:
        """The concept of each row, (R,)."""
        return torch.arange(len(self.names)) if self.concept is None else self.concept

    def mean(self, values: Tensor) -> Tensor:
        """Values of the concepts, (M,) -> their mean, a tensor of no dimension."""
        return values.mean()

    def to(self, device: torch.device | str) -> TextBank:
        """The same bank with every tensor on ``device``."""
        return _move(self, device)


@dataclass(frozen=True)
class PanopticMap:
    """A panoptic prediction of one image: ``ids`` (H, W) int64, 0 = void, and its segments."""

    ids: Tensor
    segments: tuple[Segment, ...]


def _move(value: Any, device: torch.device | str) -> Any:
    """``value`` with every tensor inside it moved to ``device``."""
    if isinstance(value, Tensor):
        return value.to(device, non_blocking=True)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.replace(
            value, **{f.name: _move(getattr(value, f.name), device) for f in dataclasses.fields(value)}
        )
    if isinstance(value, (list, tuple)):
        return type(value)(_move(item, device) for item in value)
    return value
