"""Everything a loss can use of one training step; what only some losses need is computed on first use."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from opsnet.losses.layer_predictions import LayerPredictions
from opsnet.losses.matching import HungarianMatcher
from opsnet.losses.point_sampling import StepSeeds
from opsnet.losses.predictions import MatchedPredictions
from opsnet.model import OPSNet
from opsnet.ops.normalization import inside_images
from opsnet.recognition.recognizer import PreparedNames, Recognizer
from opsnet.structures import Batch, Embeddings, ImageLabels, Proposals, SegmentTargets


@dataclass(frozen=True)
class SegmentContext(MatchedPredictions):
    """One batch with segments: the matched predictions, and everything they were computed from.

    Attributes:
        model: the network being trained.
        recognizer: maps both embeddings to logits; also used for validation.
        batch: B images.
        names: the M names of the dataset as target names, and the N of them that the queries learn as training names.
        proposals: those of the last layer, with those of all layers in ``supervision``.
        seen_clip_map: (B, C, h, w) if the queries attend to CLIP's map or share its trunk, otherwise ``None``.
    """

    model: OPSNet
    recognizer: Recognizer
    batch: Batch
    names: PreparedNames
    proposals: Proposals
    seen_clip_map: Tensor | None

    @property
    def name_labels(self) -> Tensor:
        """Labels of all segments, (sum of G,) int64: indices into the M names of the dataset."""
        assert isinstance(self.batch.targets, SegmentTargets)
        return torch.cat(self.batch.targets.labels)

    @cached_property
    def clip_map(self) -> Tensor:
        """CLIP's map (B, C, h, w)."""
        if self.seen_clip_map is not None:
            return self.seen_clip_map
        images = self.batch.images.contiguous(memory_format=torch.channels_last)
        clip_map: Tensor = self.model.clip.image_encoder(images, inside_images(self.batch.valid_sizes, images))
        return clip_map

    @cached_property
    def embeddings(self) -> Embeddings:
        """Both embeddings of each proposal of the last layer, (B, K, D) each."""
        return self.model.embed(self.proposals, self.clip_map, _size(self.batch))


def segment_context(
    batch: Batch,
    *,
    model: OPSNet,
    recognizer: Recognizer,
    names: PreparedNames,
    matcher: HungarianMatcher,
    seeds: StepSeeds,
    learned: Tensor | None = None,
) -> SegmentContext:
    """Runs the network on a batch with segments and matches its predictions with them.

    CLIP's image encoder runs only if the queries attend to its map, or it is the backbone.

    Args:
        batch: B images.
        model, recognizer, names: see :class:`SegmentContext`.
        matcher: matches proposals with segments.
        seeds: seeds for the sampled points.
        learned: (M,) int64, index of each dataset name among the N training names, ``UNNAMED`` if it is held out;
            ``None``: no name is held out.
    """
    assert isinstance(batch.targets, SegmentTargets)
    targets = batch.targets
    if learned is not None:
        targets = SegmentTargets(targets.masks, [learned[labels] for labels in targets.labels])
    if model.query_decoder.clip_attention is None and not model.shares_clip:
        proposals, clip_map = model.propose(batch.images, None, batch.valid_sizes), None
    else:
        proposals, clip_map = model(batch.images, batch.valid_sizes)
    supervision = proposals.supervision
    assert supervision is not None
    layers = [LayerPredictions(model.training_logits(q, names.train), q.mask_embeds, q.iou) for q in supervision.layers]
    return SegmentContext.match(
        layers, supervision.pixels, targets, matcher, seeds, has_unnamed=learned is not None, model=model,
        recognizer=recognizer, batch=batch,
        names=names, proposals=proposals, seen_clip_map=clip_map,
    )  # fmt: skip


@dataclass(frozen=True)
class ImageLabelContext:
    """One batch with image labels.

    Attributes:
        model: the network being trained.
        recognizer: maps both embeddings to logits; also used for validation.
        batch: B images.
        targets: their labels, indices into ``names``.
        names: the C label names as target names, and the N names of the segments as training names.
        proposals: those of the last decoder layer.
        clip_map: CLIP's map (B, C, h, w).
        seed: seed for random choices in this step.
    """

    model: OPSNet
    recognizer: Recognizer
    batch: Batch
    targets: ImageLabels
    names: PreparedNames
    proposals: Proposals
    clip_map: Tensor
    seed: int

    @cached_property
    def embeddings(self) -> Embeddings:
        """Both embeddings of each proposal, (B, K, D) each; CLIP's, pooled inside binary masks, has no gradient."""
        return self.model.embed(self.proposals, self.clip_map, _size(self.batch))

    @cached_property
    def inside(self) -> Tensor:
        """Which mask pixels have their centre in the image rather than in the padding, (B, h, w) bool."""
        return inside_padding(self.batch.valid_sizes, _size(self.batch), self.proposals.mask_logits)


def image_label_context(
    batch: Batch, *, model: OPSNet, recognizer: Recognizer, names: PreparedNames, seed: int
) -> ImageLabelContext:
    """Runs the network on a batch with image labels; predictions of the last decoder layer only."""
    assert isinstance(batch.targets, ImageLabels)
    proposals, clip_map = model(batch.images, batch.valid_sizes, return_intermediate=False)
    return ImageLabelContext(model, recognizer, batch, batch.targets, names, proposals, clip_map, seed)


def inside_padding(valid_sizes: list[tuple[int, int]], padded: tuple[int, int], like: Tensor) -> Tensor:
    """Which pixels of masks (B, K, h, w) have their centre in the image rather than in the padding: (B, h, w) bool.

    Args:
        valid_sizes: (height, width) in pixels of each image.
        padded: (height, width) in pixels of the batch.
        like: the masks, for their size and device.
    """
    height, width = like.shape[-2:]
    rows = (torch.arange(height, device=like.device) + 0.5) * (padded[0] / height)
    columns = (torch.arange(width, device=like.device) + 0.5) * (padded[1] / width)
    inside = [(rows < h)[:, None] & (columns < w)[None] for h, w in valid_sizes]
    return torch.stack(inside)


def _size(batch: Batch) -> tuple[int, int]:
    """(height, width) in pixels of the padded batch."""
    return batch.images.shape[-2], batch.images.shape[-1]
