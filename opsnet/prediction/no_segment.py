"""Explains a map without segments: which rule dropped the proposals, the best score seen, and what to change."""

from __future__ import annotations

import torch
from torch import Tensor

from opsnet.panoptic.mask_filtering import MaskFiltering
from opsnet.prediction.carriers import PanopticResult

SCORE_NAMES = {"cls": "class score", "iou": "predicted IoU", "cls_iou": "class score x predicted IoU"}


def why_empty(
    before: PanopticResult, filtering: MaskFiltering, logits: Tensor, no_object: Tensor, iou: Tensor, *, task: str
) -> str:
    """One sentence about a map without segments.

    Args:
        before: the panoptic map, before it was reduced to a task's segments.
        filtering: the filter.
        logits: (K, M) of the names.
        no_object: (K,).
        iou: (K,), predicted.
        task: "panoptic", "semantic" or "instance".
    """
    if before.segments:
        names = ", ".join(sorted({s.name for s in before.segments})[:3])
        return f"no thing was found, only stuff ({names}): task={task} leaves stuff out, task=panoptic has it"
    rows = filtering(logits[None], no_object[None], iou[None])
    best, kind = float(rows.scores.max()), SCORE_NAMES[filtering.kind]
    if best <= filtering.threshold:
        return (
            f"no segment: the best {kind} is {best:.3f}, and the filter keeps those above {filtering.threshold:g}; "
            "lower filtering.threshold to see weaker segments, or name what is in the image"
        )
    if not rows.keep.any():
        return (
            f"no segment: no-object scores higher than every name for each proposal with a {kind} above "
            f"{filtering.threshold:g}; name what is in the image, or give filtering.drop_no_object=false"
        )
    count = int(torch.count_nonzero(rows.keep))
    return (
        f"no segment: {count} proposals are kept (the best {kind} is {best:.3f}), but their masks are empty or lose "
        "too much to each other in the merge; lower overlap"
    )
