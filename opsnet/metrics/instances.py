"""Things as COCO instances with RLE masks, from panoptic maps or from proposals before the merge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from pycocotools import mask as coco_masks
from torch import Tensor

from opsnet.structures import GroundTruth, PanopticMap

RANKING_RULE = (
    "AP ranks the pairs of a proposal and a name as the setting's filter ranks proposals; AP_proposals by class "
    "probability x mean mask probability inside the mask, as Mask2Former and FC-CLIP do, whatever the filter"
)
"""To be printed with the results; :func:`instances_from_proposals` computes both."""


@dataclass(frozen=True)
class Instance:
    """One thing instance of an image.

    Attributes:
        label: index into the vocabulary.
        mask: COCO's compressed RLE, ``{"size": [H, W], "counts": bytes}``.
        score: confidence; only the ranking matters.
        is_crowd: a region of several objects that scoring ignores (ground truth only).
    """

    label: int
    mask: dict[str, Any]
    score: float = 1.0
    is_crowd: bool = False


def instances_from_map(panoptic: PanopticMap | GroundTruth) -> tuple[Instance, ...]:
    """The things of a prediction, with the scores of their segments, or of a ground truth, crowd included."""
    things = [segment for segment in panoptic.segments if segment.is_thing]
    if not things:
        return ()
    columns = panoptic.ids.detach().T.contiguous().cpu().numpy()
    masks = columns == np.array([thing.id for thing in things])[:, None, None]
    return tuple(
        Instance(thing.label, mask, thing.score, thing.is_crowd) for thing, mask in zip(things, _run_lengths(masks))
    )


@torch.no_grad()
def instances_from_proposals(
    probabilities: Tensor, class_probabilities: Tensor, is_thing: Sequence[bool], *, top: int = 100
) -> tuple[Instance, ...]:
    """The instances of one image before any merge: Mask2Former's instance inference, which FC-CLIP and others report.

    The ``top`` best pairs of proposal and class are selected, and stuff classes are dropped afterwards, as in
    Mask2Former: selecting among things only would keep more pairs and score slightly higher. One proposal may yield
    several instances. The score is the pair's class probability times the mean probability of the pixels in the mask.

    Args:
        probabilities: (K, H, W) in 0..1 at the size of the ground truth.
        class_probabilities: (K, M), softmax probabilities without the no-object class; multiplied by the predicted IoU
            (K, 1) they rank as Mask Filtering's "cls_iou" does.
        is_thing: M flags.
        top: pairs per image.
    """
    scores, index = class_probabilities.flatten().topk(min(top, class_probabilities.numel()))
    flags = torch.tensor(is_thing, dtype=torch.bool, device=index.device)
    are_things = flags[index % len(flags)]
    scores, index = scores[are_things], index[are_things]
    chosen, place = (index // len(flags)).unique(return_inverse=True)
    if len(chosen) == 0:
        return ()
    masks = probabilities[chosen].float()
    inside = masks > 0.5
    # The epsilon only avoids 0 / 0: an empty mask scores 0.
    quality = (masks * inside).sum((1, 2)) / (inside.sum((1, 2)) + 1e-6)
    run_lengths = _run_lengths(inside.mT.contiguous().cpu().numpy())
    rows = zip((index % len(flags)).tolist(), place.tolist(), (scores * quality[place]).tolist())
    return tuple(Instance(label, run_lengths[i], score) for label, i, score in rows)


def _run_lengths(masks: npt.NDArray[np.bool_]) -> list[dict[str, Any]]:
    """RLEs of masks (n, W, H), transposed because COCO's RLE is column-major."""
    # Transposed back, this is the (H, W, n) array in Fortran order that the encoder reads without a copy.
    encoded: list[dict[str, Any]] = coco_masks.encode(masks.view(np.uint8).transpose(2, 1, 0))
    return encoded
