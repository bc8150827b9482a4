"""The network's output for the ground truth's masks, whose names are scored by mask classification."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from opsnet.inference.given_masks import run_with_masks
from opsnet.inference.network_output import POOLING, NetworkOutput
from opsnet.inference.settings import Setting
from opsnet.metrics.mask_classification import classified_segments
from opsnet.model import OPSNet
from opsnet.structures import Batch
from opsnet.utils.errors import InputError


def check_mask_classification(model: OPSNet, settings: Sequence[Setting]) -> None:
    """Checks before the first image that settings can name masks that are not the network's own.

    Args:
        model: the network.
        settings: those of the details.

    Raises:
        InputError: a setting needs an embedding that such masks do not have.
    """
    for setting in settings:
        if setting.clip_embeds != POOLING:
            raise InputError(
                f"mask_classification=true cannot score {setting.name}, whose CLIP embeddings are "
                f"{setting.clip_embeds}: give detail_setting=clip_only/cls_iou, or another whose embeddings are pooled"
            )
        if setting.recognizer.needs_query_embeddings and not model.names_masks:
            raise InputError(
                f"mask_classification=true cannot score {setting.name}: it needs query embeddings, which this network "
                "has only for its own masks; give detail_setting=clip_only/cls_iou, and have it among `settings`"
            )


def run_with_ground_truth(model: OPSNet, batch: Batch) -> list[NetworkOutput]:
    """The output for each image's ground-truth masks (G of them, those that are classified).

    Args:
        model: the network.
        batch: B images with ``panoptic``, on the network's device.

    Raises:
        InputError: an embedding is not finite.
    """
    outputs = []
    for i, truth in enumerate(batch.panoptic):
        one = replace(
            batch, images=batch.images[i : i + 1], valid_sizes=batch.valid_sizes[i : i + 1],
            image_ids=batch.image_ids[i : i + 1], original_sizes=batch.original_sizes[i : i + 1],
            targets=None, panoptic=[],
        )  # fmt: skip
        masks = classified_segments(truth)[1].to(batch.images.device)
        outputs.append(run_with_masks(model, one, masks, torch.ones(len(masks), device=masks.device)))
    return outputs
