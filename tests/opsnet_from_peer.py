"""A small Mask2Former of transformers with random weights, and an OPSNet with the same weights."""

from __future__ import annotations

from functools import partial
from typing import Any

import open_clip
import torch
from mask2former_peer import random_peer, resnet, swin
from torch import nn
from transformers import Mask2FormerForUniversalSegmentation

from opsnet.clip.frozen_clip import FrozenClip
from opsnet.clip.tiny import tiny_clip
from opsnet.model import OPSNet
from opsnet.segmenter.backbone import Backbone
from opsnet.segmenter.pixel_decoder import PixelDecoder
from opsnet.segmenter.published.layouts import convert
from opsnet.segmenter.query_decoder import QueryDecoder

BACKBONES = ("resnet", "swin")
QUERIES = 9
_DECODERS = {"encoder_layers": 2, "decoder_layers": 4, "num_attention_heads": 8, "num_queries": QUERIES}
_WIDTHS = {"feature_size": 256, "mask_feature_size": 256, "hidden_dim": 256}  # norms have eight channels per group
_HIDDEN = {"encoder_feedforward_dim": 64, "dim_feedforward": 96}
_CHANNELS, _DEPTHS = [4, 8, 16, 32], [1, 2, 1, 1]
_SWIN = {"embed_dim": 16, "depths": [2, 2, 2, 2], "num_heads": [1, 2, 4, 8]}


def small_peer(backbone: str, **options: Any) -> Mask2FormerForUniversalSegmentation:
    """In training mode, with frozen BatchNorms as in detectron2's ResNets."""
    sizes = {"hidden_sizes": [4 * c for c in _CHANNELS], "depths": _DEPTHS, "embedding_size": 64}
    config = swin(**_SWIN) if backbone == "swin" else resnet(**sizes)
    peer = random_peer(config, **_DECODERS, **_WIDTHS, **_HIDDEN, **options).train()
    for module in peer.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval().requires_grad_(False)
    return peer


def opsnet_of(peer: Mask2FormerForUniversalSegmentation) -> OPSNet:
    """Ours with the peer's weights; the embedding and IoU heads, which the peer does not have, are random."""
    torch.manual_seed(1)
    tokenizer = open_clip.tokenizer.SimpleTokenizer(context_length=12)
    heads = {"dim": 256, "heads": 8}
    model = OPSNet(
        backbone=_backbone(peer.config.backbone_config.model_type),
        pixel_decoder=partial(PixelDecoder, mask_dim=256, layers=2, hidden=64, **heads),
        query_decoder=partial(
            QueryDecoder, mask_dim=256, layers=3, hidden=96, queries=QUERIES, clip_attention=None, **heads
        ),
        clip=FrozenClip(model=tiny_clip(), tokenizer=tokenizer, templates=["a {}"]),
    )
    state = {k: v for k, v in convert(peer.state_dict()).state.items() if "class_head" not in k}
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert unexpected == []
    own = ("query_decoder.embed_head", "query_decoder.iou_head", "no_object_embed", "clip")
    assert all(name.startswith(own) or name.endswith("num_batches_tracked") for name in missing)
    return model


def _backbone(kind: str) -> Backbone:
    if kind == "swin":
        args = {"drop_path_rate": 0.0, "window_size": 7, **_SWIN}
        return Backbone(name="swin_tiny_patch4_window7_224", model_args=args, output_norms=True)
    args = {"layers": tuple(_DEPTHS), "channels": _CHANNELS}
    return Backbone(name="resnet50", out_indices=[1, 2, 3, 4], model_args=args, frozen_norms=True)
