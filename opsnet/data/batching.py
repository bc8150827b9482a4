"""Collates samples into a ``Batch``, padding images of different sizes to a common size."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from opsnet.data.image_label_dataset import LabelledSample
from opsnet.data.panoptic_dataset import Sample
from opsnet.structures import SIZE_DIVISOR, Batch, ImageLabels, SegmentTargets


def collate(
    samples: Sequence[Sample | LabelledSample],
    *,
    vocabulary: str,
    size_divisor: int = SIZE_DIVISOR,
    with_ground_truth: bool = False,
    with_targets: bool = True,
) -> Batch:
    """Collates samples into one batch, zero-padded at the right and bottom to a multiple of ``size_divisor`` pixels.

    Args:
        samples: all of one type, which determines the type of the batch's targets.
        vocabulary: name of the vocabulary that the labels index.
        size_divisor: the padded height and width are multiples of this.
        with_ground_truth: also keep the ground truth and original sizes needed for scoring.
        with_targets: make the training targets; masks of segments take a third of the time to load an image.
    """
    sizes = [(int(s.image.shape[1]), int(s.image.shape[2])) for s in samples]
    height, width = (math.ceil(max(side) / size_divisor) * size_divisor for side in zip(*sizes, strict=True))
    images = torch.zeros(len(samples), 3, height, width)
    for image, sample, (h, w) in zip(images, samples, sizes, strict=True):
        image[:, :h, :w] = sample.image if sample.image.is_floating_point() else sample.image / 255
    panoptic = [s for s in samples if isinstance(s, Sample)]
    return Batch(
        images=images,
        valid_sizes=sizes,
        image_ids=[s.image_id for s in samples],
        vocabulary=vocabulary,
        targets=_targets(samples, panoptic, height, width) if with_targets else None,
        panoptic=[s.truth for s in panoptic] if with_ground_truth else [],
        original_sizes=[(s.truth.ids.shape[0], s.truth.ids.shape[1]) for s in panoptic] if with_ground_truth else [],
    )


def _targets(
    samples: Sequence[Sample | LabelledSample], panoptic: list[Sample], height: int, width: int
) -> SegmentTargets | ImageLabels:
    if not panoptic:
        return ImageLabels([s.labels for s in samples])

    def padded(masks: Tensor) -> Tensor:
        return F.pad(masks, (0, width - masks.shape[2], 0, height - masks.shape[1]))

    return SegmentTargets(masks=[padded(s.masks) for s in panoptic], labels=[s.labels for s in panoptic])
