"""The one path from network output to panoptic maps: recognizer, Mask Filtering, merge (paper, sections 3.3 and 3.4).

Prediction, validation, probes and the check of exported files call :func:`segment`. Evaluation scores many settings
per image with :mod:`opsnet.evaluation.scored_image`, whose maps are tested to equal these.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor

from opsnet.inference.network_output import NetworkOutput, run_network
from opsnet.model import OPSNet
from opsnet.panoptic.mask_filtering import Filtered, MaskFiltering
from opsnet.panoptic.merge import merge_masks
from opsnet.recognition.recognizer import PreparedNames, Recognizer
from opsnet.structures import Batch, PanopticMap


@torch.no_grad()
def predict(
    model: OPSNet, batch: Batch, names: PreparedNames, *, recognizer: Recognizer, filtering: MaskFiltering,
    overlap: float = 0.8,
) -> list[PanopticMap]:  # fmt: skip
    """Segments a batch and labels the segments with the target names.

    Args:
        model: the network.
        batch: B images, on its device.
        names: M target names.
        recognizer: both embeddings -> logits.
        filtering: how proposals are ranked and dropped.
        overlap: see :func:`opsnet.panoptic.merge.merge_panoptic`.

    Returns:
        One panoptic map (H, W) per image, at its original size where the batch has it (``Batch.map_sizes``).
    """
    output = run_network(model, batch)
    logits, no_object = recognizer(output.embeddings(), names, model.no_object_embed)
    return segment(output, logits, no_object, names.target.is_thing.tolist(), filtering=filtering, overlap=overlap)


def segment(
    output: NetworkOutput, logits: Tensor, no_object: Tensor, is_thing: Sequence[bool], *, filtering: MaskFiltering,
    overlap: float,
) -> list[PanopticMap]:  # fmt: skip
    """Mask Filtering and merge: one panoptic map (H, W) per image, at ``output.map_sizes``.

    Args:
        output: of B images, from the network or from disk.
        logits: (B, K, M) of the target names.
        no_object: (B, K).
        is_thing: M flags.
        filtering, overlap: see :func:`predict`.
    """
    rows = filtering(logits, no_object, output.proposals.iou)
    return [
        merge(output, i, keep.nonzero()[:, 0], Filtered(*(values[i][keep] for values in rows)), is_thing, overlap)
        for i, keep in enumerate(rows.keep)
    ]


def merge(
    output: NetworkOutput, index: int, kept: Tensor, rows: Filtered, is_thing: Sequence[bool], overlap: float
) -> PanopticMap:
    """The panoptic map (H, W) of one image from the proposals that are kept; ``Segment.proposal`` counts all of them.

    Args:
        output: of B images.
        index: of the image.
        kept: (n,) int64, proposals.
        rows: their scores and labels, (n,) each.
        is_thing, overlap: see :func:`segment`.
    """
    merged = merge_masks(
        output.proposals.mask_logits[index][kept], rows.scores, rows.labels, is_thing, padded=output.padded,
        valid=output.valid_sizes[index], size=output.map_sizes[index], iou=output.proposals.iou[index][kept],
        merge_scores=rows.merge_scores, overlap=overlap,
    )  # fmt: skip
    places = kept.tolist()
    segments = (
        dataclasses.replace(
            s,
            proposal=None if s.proposal is None else places[s.proposal],
            proposals=tuple(places[proposal] for proposal in s.proposals),
        )
        for s in merged.segments
    )
    return PanopticMap(merged.ids, tuple(segments))
