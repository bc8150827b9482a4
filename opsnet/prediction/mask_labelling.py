"""Names given masks: the path of a prediction, with masks from elsewhere in place of the network's proposals."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from opsnet.inference.given_masks import run_with_masks
from opsnet.model import OPSNet
from opsnet.panoptic.mask_filtering import Filtered, MaskFiltering
from opsnet.prediction.carriers import DroppedMask, MaskId, PanopticResult
from opsnet.prediction.given_masks import GivenMasks
from opsnet.prediction.images import NetworkSize, SourceImage, to_batch
from opsnet.prediction.labelling import Labelling, Proposed
from opsnet.prediction.naming import label_segments
from opsnet.prediction.task_maps import for_task
from opsnet.recognition.modulation import ClipOnly
from opsnet.recognition.recognizer import Recognizer
from opsnet.utils.errors import InputError

FRONT = ("small", "score")
"""Which of two overlapping masks is in front: the smaller one, or the one with the higher score."""


class KeepAll(MaskFiltering):
    """The filter of given masks: they are all wanted, with whatever score, which is that of "cls_iou"."""

    def __init__(self) -> None:
        super().__init__(kind="cls_iou", threshold=0.0)

    def forward(self, logits: Tensor, no_object: Tensor, iou: Tensor) -> Filtered:
        """See :class:`MaskFiltering`."""
        found = super().forward(logits, no_object, iou)
        return found._replace(keep=torch.ones_like(found.keep))


class FrontToBack(MaskFiltering):
    """A filter whose masks compete by an order instead of by scores.

    Args:
        filtering: what it keeps, and the scores.
        areas: (K,) pixels of each mask.
        front: one of :data:`FRONT`.
    """

    def __init__(self, filtering: MaskFiltering, areas: Tensor, front: str) -> None:
        super().__init__(**filtering.settings())  # type: ignore[arg-type]
        self.filtering, self.areas, self.front = filtering, areas, front

    def forward(self, logits: Tensor, no_object: Tensor, iou: Tensor) -> Filtered:
        """See :class:`MaskFiltering`, for one image (B = 1)."""
        found: Filtered = self.filtering(logits, no_object, iou)
        places = front_to_back(self.areas, found.scores[0], self.front)
        # In (0, 1]: a mask in front wins its pixels from every mask behind it, and keeps them from outside.
        return found._replace(merge_scores=(1 - places / max(1, len(places)))[None].to(found.scores))


def front_to_back(areas: Tensor, scores: Tensor, front: str) -> Tensor:
    """The place of each mask, 0 for the one in front, from areas and scores (K,): int64 (K,).

    Of masks of one area the one with the higher score is in front, and the other way around.
    """
    keys = (areas.double(), -scores.double())
    first, second = (x.tolist() for x in (keys if front == "small" else keys[::-1]))
    order = sorted(range(len(first)), key=lambda k: (first[k], second[k]))
    places = torch.empty(len(order), dtype=torch.int64, device=areas.device)
    places[order] = torch.arange(len(order), device=areas.device)
    return places


def checked_front(front: str) -> str:
    """Validates which mask is in front.

    Raises:
        InputError: it is none of :data:`FRONT`.
    """
    if front not in FRONT:
        raise InputError(f"front must be {' or '.join(FRONT)}, got {front}: change `front`")
    return front


def mask_recognizer(model: OPSNet, own: Recognizer, chosen: Recognizer | None) -> Recognizer:
    """The recognizer of given masks: the network's own if it can embed them, else CLIP alone.

    Args:
        model: the network.
        own: its recognizer.
        chosen: a recognizer that was asked for; ``None``: none was.

    Raises:
        InputError: the chosen one needs query embeddings, which this network has only for its own masks.
    """
    if model.names_masks:
        return own if chosen is None else chosen
    if chosen is not None and chosen.needs_query_embeddings:
        raise InputError(
            f"{type(chosen).__name__} needs query embeddings, which this network has only for its own masks: leave "
            "modulation out, or give modulation=clip_only"
        )
    return ClipOnly() if chosen is None else chosen


@dataclass(frozen=True)
class ProposedMasks:
    """The network's output for the given masks of one image.

    Attributes:
        output: of the K masks that have a pixel, with the image.
        ids: their K ids.
        empty: the others.
    """

    output: Proposed
    ids: tuple[MaskId, ...]
    empty: tuple[DroppedMask, ...]


def propose_masks(model: OPSNet, image: SourceImage, given: GivenMasks, *, size: NetworkSize) -> ProposedMasks:
    """Runs the network on one image for its given masks; see :func:`opsnet.inference.given_masks.run_with_masks`."""
    filled = np.asarray(given.masks.any((1, 2)))
    masks, scores = (given.masks, given.scores) if filled.all() else (given.masks[filled], given.scores[filled])
    device = model.no_object_embed.device
    batch = to_batch([image.pixels], size=size).to(device)
    output = run_with_masks(model, batch, torch.from_numpy(masks).to(device), torch.from_numpy(scores).to(device))
    rows = list(zip(given.ids, filled.tolist(), strict=True))
    return ProposedMasks(
        Proposed.of_images(output, [image]),
        tuple(i for i, some in rows if some),
        tuple(DroppedMask(i, "empty") for i, some in rows if not some),
    )


def label_masks(
    given: ProposedMasks, logits: Tensor, no_object: Tensor, how: Labelling, *, front: str, overlap: float
) -> PanopticResult:  # fmt: skip
    """The panoptic map of given masks, whose segments have the ids of the masks.

    Args:
        given: K masks of one image.
        logits, no_object: (1, K, M) and (1, K).
        how: M concepts or a tree of them, the filter, which drops masks by score, and the task.
        front: one of :data:`FRONT`.
        overlap: masks that keep less of their pixels than this fraction are dropped.
    """
    areas = given.output.proposals.mask_logits[0].flatten(1).sum(1)
    (named,) = label_segments(
        given.output, logits, no_object, how.words, filtering=FrontToBack(how.filtering, areas, front),
        overlap=overlap, top_k=how.top_k, unknown=how.unknown, path_margin=how.path_margin,
    )  # fmt: skip
    segments = tuple(replace(s, source_ids=tuple(given.ids[k] for k in s.proposals)) for s in named.segments)
    visible, hidden = {k for s in named.segments for k in s.proposals}, set(named.hidden)
    lost = [
        DroppedMask(source, "covered" if k in hidden else "score")
        for k, source in enumerate(given.ids)
        if k not in visible
    ]
    named = replace(named, segments=segments, dropped=(*given.empty, *lost))
    return given.output.with_images([for_task(named, how.task)])[0]
