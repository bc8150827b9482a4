"""Labels pixels instead of segments: semantic maps from proposals, see :mod:`opsnet.inference.semantic`."""

from __future__ import annotations

import torch
from torch import Tensor

from opsnet.inference.config import checked_semantic
from opsnet.inference.network_output import NetworkOutput
from opsnet.inference.semantic import class_probabilities, mask_probabilities, semantic_labels
from opsnet.prediction.carriers import NamedSegment, PanopticResult
from opsnet.prediction.naming import UnknownRule, boxes_of, name_score
from opsnet.prediction.task_maps import checked_task
from opsnet.utils.errors import InputError
from opsnet.vocabulary import Vocabulary
from opsnet.vocabulary.name_tree import NameTree


def is_from_proposals(
    task: str, semantic: str | None, default: str, words: Vocabulary | NameTree, unknown: UnknownRule | None
) -> bool:
    """Whether a map is made from proposals, by :func:`label_pixels`.

    Args:
        task: "panoptic", "semantic" or "instance".
        semantic: "panoptic" or "proposals"; ``None``: ``default``.
        default: the predictor's.
        words: the names.
        unknown: the rule of unknown segments.

    Raises:
        InputError: ``task`` or ``semantic`` is unknown, ``semantic`` is given for another task, or such a map was
            requested with a tree of names or unknown segments, which belong to the panoptic map.
    """
    if checked_task(task) != "semantic":
        if semantic is not None:
            raise InputError(f"semantic={semantic} is for task=semantic, got task={task}: give task=semantic too")
        return False
    if checked_semantic(semantic or default) == "panoptic":
        return False
    if unknown is not None or isinstance(words, NameTree):
        raise InputError(
            "a semantic map from proposals has no unknown segments and no tree of names: give semantic=panoptic"
        )
    return True


def label_pixels(
    output: NetworkOutput, logits: Tensor, no_object: Tensor, vocabulary: Vocabulary, *, top_k: int = 1
) -> list[PanopticResult]:
    """One map (H, W) per image with a segment per class, in the order of the vocabulary; no pixel is void.

    A segment's score is its share of the scores of all names on its pixels, which orders its best names too; its
    ``proposal`` is the one that adds most to the score, and its ``iou`` the predicted IoU of that one.

    Args:
        output: network output of B images.
        logits: (B, K, M).
        no_object: (B, K).
        vocabulary: M concepts.
        top_k: number of names listed per segment.
    """
    classes, proposals = class_probabilities(logits, no_object), output.proposals
    maps = []
    for i, (valid, size) in enumerate(zip(output.valid_sizes, output.map_sizes, strict=True)):
        masks = mask_probabilities(proposals.mask_logits[i], output.padded, valid, size)
        maps.append(_label_image(masks, classes[i], proposals.iou[i], vocabulary, top_k))
    return maps


def _label_image(masks: Tensor, classes: Tensor, iou: Tensor, vocabulary: Vocabulary, top_k: int) -> PanopticResult:
    """From mask probabilities (K, H, W), class probabilities (K, M) and predicted IoU (K,) of one image."""
    labels = semantic_labels(masks, classes)
    areas = torch.bincount(labels.flatten(), minlength=len(vocabulary))
    present = areas.nonzero()[:, 0]
    number = torch.zeros_like(areas)
    number[present] = torch.arange(1, len(present) + 1, device=areas.device)
    ids = number[labels]
    boxes = boxes_of(ids, len(present))
    segments = []
    for i, label in enumerate(present.tolist()):
        support = masks[:, ids == i + 1].sum(1)  # (K,)
        scores = support @ classes  # (M,), sums over the segment's pixels
        shares = scores / scores.sum().clamp(min=torch.finfo(scores.dtype).tiny)
        best = shares.index_fill(0, present[i], torch.inf).topk(min(top_k, len(shares))).indices.tolist()
        proposal = int((support * classes[:, label]).argmax())
        top = tuple(name_score(vocabulary, other, float(shares[other])) for other in best)
        segments.append(
            NamedSegment(
                i + 1, label, vocabulary.is_thing[label], float(shares[label]), int(areas[label]),
                float(iou[proposal]), proposal=proposal, name=vocabulary.names[label], box=boxes[i], top=top,
            )
        )  # fmt: skip
    return PanopticResult(ids=ids, segments=tuple(segments), vocabulary=vocabulary, task="semantic")
