"""The data classes that are passed between the parts of OPSNet, and the legend of tensor shapes.

Shape legend, used as letters in every docstring of the package:

====== =================================================================
``B``  batch (images)
``K``  proposals (queries) of one image
``D``  dimensions of the CLIP embedding space (1024 for RN50)
``M``  concepts of the target vocabulary (the one predicted with)
``N``  concepts of the training vocabulary
``G``  ground-truth segments of one image
``H W`` height and width of an image in pixels
``h w`` height and width of a mask or feature map
====== =================================================================

All of them are frozen: a part returns a new one and never modifies its input.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

SIZE_DIVISOR = 32  # padded height and width are multiples of this: the coarsest stride of any backbone


UNNAMED = -100
"""Label of a segment whose mask is learned but not its name; PyTorch's ``ignore_index``."""


@dataclass(frozen=True)
class SegmentTargets:
    """Ground-truth segments of a batch, without crowd and void.

    Attributes:
        masks: one bool tensor (G, H, W) per image, at the padded batch size.
        labels: one int64 tensor (G,) per image, indices into a vocabulary, or ``UNNAMED``.
    """

    masks: list[Tensor]
    labels: list[Tensor]


@dataclass(frozen=True)
class ImageLabels:
    """Image-level multi-labels of a batch: one int64 tensor (any length) per image."""

    labels: list[Tensor]


@dataclass(frozen=True)
class Batch:
    """Images with their targets; all share one vocabulary.

    Attributes:
        images: (B, 3, H, W) float, RGB in 0..1, padded at the right and bottom with zeros.
        valid_sizes: (height, width) in pixels of each image inside the padding.
        original_sizes: (height, width) in pixels of each image file before resizing, in evaluation and prediction;
            empty in training, where images are cropped.
        image_ids: the dataset's id of each image.
        vocabulary: name of the vocabulary that target labels index.
        targets: the training targets, whose type selects the criterion; ``None`` in prediction.
        panoptic: ground truth of each image for scoring (see ``GroundTruth``); empty in training.
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
        """(height, width) in pixels of each image's panoptic map: the original size if known, else the valid size."""
        return self.original_sizes or self.valid_sizes

    def to(self, device: torch.device | str) -> Batch:
        """The same batch with every tensor on ``device``."""
        return _move(self, device)


@dataclass(frozen=True)
class GroundTruth:
    """Panoptic ground truth of one image, as panopticapi scores it.

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
        area: area in pixels.
        iou: predicted IoU of the mask in 0..1 (1 for ground truth).
        is_crowd: a region of several objects that scoring ignores (ground truth only).
        covered: pixels of its mask that other segments hide in the map (ground truth only; ADE20K); they count in IoU.
        proposal: index of its proposal, of the best one if several were merged into stuff (predictions only).
        proposals: indices of all proposals that were merged into it (predictions only).
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
    proposals: tuple[int, ...] = field(default=(), compare=False)


@dataclass(frozen=True)
class LayerQueries:
    """The heads' outputs for the queries after one decoder layer.

    Attributes:
        mask_embeds: (B, K, C); their product with the pixel embeddings gives the mask logits.
        query_embeds: (B, K, D), not normalised.
        iou: (B, K) predicted mask IoU in 0..1.
    """

    mask_embeds: Tensor
    query_embeds: Tensor
    iou: Tensor


@dataclass(frozen=True)
class DeepSupervision:
    """The outputs of every decoder layer; masks stay factorized, because losses read few masks or few of their points.

    Attributes:
        layers: the queries before the first layer and after each layer, in this order.
        pixels: (B, C, h, w), the pixel embeddings shared by all layers.
    """

    layers: tuple[LayerQueries, ...]
    pixels: Tensor

    def mask_logits(self) -> list[Tensor]:
        """The full mask logits of every layer, each (B, K, h, w)."""
        return [compute_mask_logits(layer.mask_embeds, self.pixels) for layer in self.layers]


def compute_mask_logits(mask_embeds: Tensor, pixels: Tensor) -> Tensor:
    """Mask embeddings (B, K, C) and pixel embeddings (B, C, h, w) -> mask logits (B, K, h, w)."""
    table = pixels.permute(0, 2, 3, 1).flatten(1, 2)  # (B, h * w, C): a view in both of PyTorch's memory formats
    return (mask_embeds @ table.mT).unflatten(-1, pixels.shape[-2:])


@dataclass(frozen=True)
class Proposals:
    """The segmenter's output: class-agnostic masks and trained embeddings.

    Attributes:
        mask_logits: (B, K, h, w).
        query_embeds: (B, K, D), not normalised.
        iou: (B, K) predicted mask IoU in 0..1.
        supervision: the outputs of every decoder layer, in training.
    """

    mask_logits: Tensor
    query_embeds: Tensor
    iou: Tensor
    supervision: DeepSupervision | None = None

    def to(self, device: torch.device | str) -> Proposals:
        """The same proposals with every tensor on ``device``."""
        return _move(self, device)


LOGIT_SCALE = 100.0
"""By which cosines are multiplied to become logits: one over the paper's temperature of 0.01 (section 3.1)."""


@dataclass(frozen=True)
class Embeddings:
    """Both embeddings of each proposal.

    Attributes:
        query, clip: (B, K, D) each, not normalised. A proposal without a CLIP embedding has zeros.
        query_scale, clip_scale: by which cosines of each with names are multiplied to become logits; numbers or
            0-dimensional tensors.
    """

    query: Tensor
    clip: Tensor
    query_scale: float | Tensor = LOGIT_SCALE
    clip_scale: float | Tensor = LOGIT_SCALE


@dataclass(frozen=True)
class TextBank:
    """A vocabulary's names as CLIP text embeddings.

    Attributes:
        name: the vocabulary's name.
        names: the names of the M concepts.
        is_thing: (M,) bool.
        embeds: (R, D), L2-normalised, R >= M: one row per name or synonym, grouped by concept.
        concept: (R,) int64, the concept of each row; ``None`` if every concept has one name (R = M).
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
        """Values per row, (..., R) -> values per concept, (..., M): the maximum over each concept's names."""
        if self.concept is None:
            return values
        best = values.new_full((*values.shape[:-1], len(self.names)), -math.inf)
        return best.scatter_reduce(-1, self.concept.expand_as(values), values, "amax")

    def select(self, concepts: Tensor) -> TextBank:
        """The bank restricted to ``concepts``, int64 (C,) in ascending order."""
        names, is_thing = tuple(self.names[i] for i in concepts.tolist()), self.is_thing[concepts]
        if self.concept is None:
            return TextBank(self.name, names, is_thing, self.embeds[concepts])
        rows = torch.isin(self.concept, concepts)
        return TextBank(self.name, names, is_thing, self.embeds[rows], torch.searchsorted(concepts, self.concept[rows]))

    def concept_of_row(self) -> Tensor:
        """The concept of each row, (R,)."""
        return torch.arange(len(self.names)) if self.concept is None else self.concept

    def mean(self, values: Tensor) -> Tensor:
        """Mean over concepts: (M,) -> a scalar tensor."""
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
