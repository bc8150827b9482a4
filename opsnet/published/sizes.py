"""The configuration of a published network from the shapes of its weights, so that no option is needed.

Numbers of heads and groups do not change shapes: they are those of every published model, 8 and 32. A function raises
``KeyError``, ``IndexError`` or another error of Python where a weight that determines a size is missing or has another
shape; :func:`opsnet.published.loading.load_published_model` reports it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from opsnet.segmenter.published.layouts import CLASS_HEAD
from opsnet.segmenter.published.weight_files import WeightsError

Weights = Mapping[str, Tensor]
HEADS = 8
GROUPS = 32
_RESNETS = {6: "resnet50.tv_in1k", 23: "resnet101.tv_in1k"}
"""timm's name by the number of blocks of the third stage."""
_SWINS = {
    (96, 6, 7): "swin_tiny_patch4_window7_224",
    (96, 18, 7): "swin_small_patch4_window7_224",
    (128, 18, 7): "swin_base_patch4_window7_224",
    (128, 18, 12): "swin_base_patch4_window12_384",
    (192, 18, 12): "swin_large_patch4_window12_384",
}
"""timm's name by channels, blocks of the third stage and window."""


def model_config(weights: Weights, *, is_open: bool) -> dict[str, Any]:
    """The group ``model`` for the weights of one network.

    Args:
        weights: by their names in this project.
        is_open: whether the network has FC-CLIP's heads.
    """
    pixel, query = _pixel_decoder(weights), _query_decoder(weights)
    if is_open:
        query |= {"embed_head": "mask_pooled", "iou_head": False}
    elif f"{CLASS_HEAD}bias" in weights:
        query["classes"] = len(weights[f"{CLASS_HEAD}bias"]) - 1
    return {
        "_target_": "opsnet.model.OPSNet",
        "weights": None,
        "learn_logit_scale": is_open,
        "pixel_decoder": {"_target_": "opsnet.segmenter.pixel_decoder.PixelDecoder", "_partial_": True, **pixel},
        "query_decoder": {"_target_": "opsnet.segmenter.query_decoder.QueryDecoder", "_partial_": True, **query},
    }


def _pixel_decoder(weights: Weights) -> dict[str, Any]:
    levels = _count(weights, r"pixel_decoder\.input_projections\.(\d+)\.")
    dim = _rows(weights, "pixel_decoder.input_projections.0.0.weight")
    return {
        "dim": dim,
        "mask_dim": _rows(weights, "pixel_decoder.mask_features.weight"),
        "encoder_levels": levels,
        "layers": _count(weights, r"pixel_decoder\.layers\.(\d+)\."),
        "heads": HEADS,
        "points": _rows(weights, "pixel_decoder.layers.0.attention.weights.weight") // (HEADS * levels),
        "hidden": _rows(weights, "pixel_decoder.layers.0.feed_forward.linear1.weight"),
        "norm_groups": GROUPS,
    }


def _query_decoder(weights: Weights) -> dict[str, Any]:
    queries, dim = weights["query_decoder.query_features.weight"].shape
    return {
        "mask_dim": _rows(weights, "pixel_decoder.mask_features.weight"),
        "levels": _rows(weights, "query_decoder.level_embed.weight"),
        "dim": dim,
        "layers": _count(weights, r"query_decoder\.layers\.(\d+)\."),
        "heads": HEADS,
        "hidden": _rows(weights, "query_decoder.layers.0.feed_forward.linear1.weight"),
        "queries": queries,
        "clip_attention": None,
    }


def backbone_config(weights: Weights) -> dict[str, Any]:
    """The group ``backbone`` of a Mask2Former: a ResNet or Swin of timm.

    Raises:
        WeightsError: it is neither, or of an unknown size.
    """
    shared = {"_target_": "opsnet.segmenter.backbone.Backbone", "pretrained": False}
    if "backbone.model.conv1.weight" in weights:
        blocks = _count(weights, r"backbone\.model\.layer3\.(\d+)\.")
        if blocks in _RESNETS:
            return {**shared, "name": _RESNETS[blocks], "out_indices": [1, 2, 3, 4], "frozen_norms": True}
        raise WeightsError(f"its ResNet has {blocks} blocks in the third stage, and not the 6 or 23 of R50 and R101")
    table = weights.get("backbone.model.layers_0.blocks.0.attn.relative_position_bias_table")
    if table is None:
        raise WeightsError("it has neither a ResNet nor a Swin as its backbone")
    size = (
        _rows(weights, "backbone.model.patch_embed.proj.weight"),
        _count(weights, r"backbone\.model\.layers_2\.blocks\.(\d+)\."),
        (round(len(table) ** 0.5) + 1) // 2,
    )
    if size not in _SWINS:
        raise WeightsError("its Swin has {} channels, {} blocks and a window of {}, as no published one".format(*size))
    return {**shared, "name": _SWINS[size], "output_norms": True}


def _rows(weights: Weights, name: str) -> int:
    return int(weights[name].shape[0])


def _count(weights: Weights, pattern: str) -> int:
    """How many different numbers a pattern's group has among the names."""
    return len({match[1] for name in weights if (match := re.match(pattern, name))})
