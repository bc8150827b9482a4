"""Semantic maps from proposals, without a merge: Mask2Former's semantic inference, whose mIoU FC-CLIP reports.

::

    score_c(pixel) = sum_k p_k(c) sigmoid(mask_k(pixel))

p_k is the softmax over the names and no-object, whose own column is dropped. Every pixel gets the class with the
highest score, so none is void. Mask Filtering and the merge's overlap threshold have no part in it.

Masks are resized to the image's original size before the sigmoid, as in Mask2Former's panoptic configurations. Those
for semantic sets only (in FC-CLIP: A-847, PC-459, PC-59, PAS-20 and PAS-21) resize the scores instead, which is not
implemented.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from opsnet.inference.network_output import Size
from opsnet.ops.contest import in_groups
from opsnet.panoptic.merge import upsample_masks

SCORES_AT_ONCE = {"cpu": 2**19, "cuda": 2**27}
"""Number of scores computed at a time, by device: on a CPU they stay in its cache, on a GPU they take 0.5 GB."""


def class_probabilities(logits: Tensor, no_object: Tensor) -> Tensor:
    """Probabilities (..., K, M) of the names in competition with no-object, whose own probability is left out.

    Args:
        logits: (..., K, M).
        no_object: (..., K).
    """
    return torch.cat((logits, no_object[..., None]), dim=-1).softmax(-1)[..., :-1]


def mask_probabilities(mask_logits: Tensor, padded: Size, valid: Size, size: Size) -> Tensor:
    """Mask probabilities (K, H, W) of one image in fp32, resized a few at a time on a CPU.

    Args:
        mask_logits: (K, h, w).
        padded, valid, size: as in :func:`opsnet.panoptic.merge.upsample_masks`.
    """
    probabilities = mask_logits.new_empty((len(mask_logits), *size), dtype=torch.float32)
    every = torch.arange(len(mask_logits), device=mask_logits.device)
    for k in in_groups(every, max(padded, size, key=math.prod)):
        probabilities[k] = upsample_masks(mask_logits[k].float(), padded, valid, size)
    return probabilities


def semantic_scores(probabilities: Tensor, classes: Tensor) -> Tensor:
    """The score of every class at every pixel, (M, H, W).

    Args:
        probabilities: mask probabilities (K, H, W) in 0..1, or (K, n) of n pixels.
        classes: (K, M), from :func:`class_probabilities`.
    """
    # The M scores of a pixel are neighbours in memory, which makes a maximum over them several times faster.
    return (probabilities.flatten(1).mT @ classes).mT.unflatten(1, probabilities.shape[1:])


def semantic_labels(probabilities: Tensor, classes: Tensor) -> Tensor:
    """The class with the highest score at every pixel, (H, W) int64, computed for some pixels at a time.

    Args:
        probabilities, classes: as in :func:`semantic_scores`, whose result would take 5 GB for 847 classes and an image
            of 1000 x 1500 pixels.
    """
    count = max(1, SCORES_AT_ONCE.get(probabilities.device.type, 2**19) // classes.shape[1])
    pixels = probabilities.flatten(1).split(count, dim=1)
    labels = [semantic_scores(some.to(classes.dtype), classes).argmax(0) for some in pixels]
    return torch.cat(labels).unflatten(0, probabilities.shape[1:])
