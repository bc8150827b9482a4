"""What one training step knows, as losses get it; what only some losses read is computed at its first use."""

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
    """One batch with segments: its matched predictions, and where they come from.

    Attributes:
        model: the network in training.
        recognizer: both embeddings -> logits, as the network will be validated with.
        batch: B images.
        names: the M names of the data as target names, and the N of them that the queries learn as training names.
        proposals: of the last layer, with those of all layers in ``supervision``.
        seen_clip_map: (B, D, h, w) where the queries look at CLIP's map, else ``None``.
    """

    model: OPSNet
    recognizer: Recognizer
    batch: Batch
    names: PreparedNames
    proposals: Proposals
    seen_clip_map: Tensor | None

    @property
    def name_labels(self) -> Tensor:
        """(sum of G,) int64, of all segments: indices into the M names of the data."""
        assert isinstance(self.batch.targets, SegmentTargets)
        return torch.cat(self.batch.targets.labels)

    @cached_property
    def clip_map(self) -> Tensor:
        """CLIP's adapted map (B, D, h, w)."""
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
    """The network's predictions for a batch with segments, matched with them.

    CLIP looks at the images only where the queries look at its map.

    Args:
        batch: B images.
        model, recognizer: see :class:`SegmentContext`.
        names: see there.
        matcher: of proposals and segments.
        seeds: of the points of the step.
        learned: (M,) int64, index among the N training names of each name of the data, ``UNNAMED`` where it is held
            out; ``None``: the two are the same.
    """
    assert isinstance(batch.targets, SegmentTargets)
    targets = batch.targets
    if learned is not None:
        targets = SegmentTargets(targets.masks, [learned[labels] for labels in targets.labels])
    if model.query_decoder.clip_attention is None:
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
        model: the network in training.
        recognizer: both embeddings -> logits, as the network will be validated with.
        batch: B images.
        targets: their labels, indices into ``names``.
        names: the C label names beside the N training names of the segments.
        proposals: of the last decoder layer.
        clip_map: CLIP's adapted map (B, D, h, w).
        seed: of what is random in the step.
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
        """Both embeddings of each proposal, (B, K, D) each; CLIP's, pooled inside binary masks, passes no gradient."""
        return self.model.embed(self.proposals, self.clip_map, _size(self.batch))

    @cached_property
    def inside(self) -> Tensor:
        """Which pixels of the masks have their centre in the image and not in its padding, (B, h, w) bool."""
        return inside_padding(self.batch.valid_sizes, _size(self.batch), self.proposals.mask_logits)


def image_label_context(
    batch: Batch, *, model: OPSNet, recognizer: Recognizer, names: PreparedNames, seed: int
) -> ImageLabelContext:
    """The network's predictions for a batch with image labels, of the last decoder layer alone."""
    assert isinstance(batch.targets, ImageLabels)
    proposals, clip_map = model(batch.images, batch.valid_sizes, return_intermediate=False)
    return ImageLabelContext(model, recognizer, batch, batch.targets, names, proposals, clip_map, seed)


def inside_padding(valid_sizes: list[tuple[int, int]], padded: tuple[int, int], like: Tensor) -> Tensor:
    """Which pixels of masks (B, K, h, w) have their centre in the image and not in its padding: (B, h, w) bool.

    Args:
        valid_sizes: (height, width) in pixels of each image.
        padded: the same of the batch.
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
