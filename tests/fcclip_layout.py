"""A small network of FC-CLIP's kind, and its weights under detectron2's names, as they are published."""

from __future__ import annotations

import json
import re
from pathlib import Path

import torch
from torch import Tensor

from opsnet.model import OPSNet

CLIP_CONFIG = {  # an open_clip_config.json of a ConvNeXt like CLIP's, but small
    "model_cfg": {
        "embed_dim": 32,
        "vision_cfg": {
            "timm_model_name": "test_convnext",
            "timm_model_pretrained": False,
            "timm_pool": "",
            "timm_proj": "mlp",
            "image_size": 64,
        },
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
    }
}
SMALL_FCCLIP = (  # of experiment=finetune
    "+model.pixel_decoder.dim=64",
    "+model.pixel_decoder.mask_dim=64",
    "+model.pixel_decoder.layers=1",
    "+model.pixel_decoder.hidden=64",
    "model.query_decoder.mask_dim=64",
    "+model.query_decoder.dim=64",
    "+model.query_decoder.layers=2",
    "+model.query_decoder.hidden=64",
    "model.query_decoder.queries=8",
)


def small_clip(weights: str | Path) -> list[str]:
    """Overrides that replace CLIP by the small one; ``weights`` is a file, or "random"."""
    config = json.dumps(CLIP_CONFIG["model_cfg"]).replace('""', "''").replace('"', "").replace(" ", "")
    return [
        "clip.model.architecture._target_=opsnet.clip.loading.custom_clip",
        f"+clip.model.architecture.config={config}",
        "~clip.model.architecture.model_name",
        "~clip.model.architecture.pretrained",
        f"clip.model.weights={weights}",
    ]


_PIXEL, _QUERY, _ENCODER = "sem_seg_head.pixel_decoder.", "sem_seg_head.predictor.", r"pixel_decoder\.layers\.(\d+)\."
_LAYER = r"query_decoder\.layers\.(\d+)\."
_NAMES = [
    (r"pixel_decoder\.input_projections\.", _PIXEL + "input_proj."),
    (r"pixel_decoder\.level_embed", _PIXEL + "transformer.level_embed"),
    (r"pixel_decoder\.laterals\.0\.0\.", _PIXEL + "adapter_1."),
    (r"pixel_decoder\.laterals\.0\.1\.", _PIXEL + "adapter_1.norm."),
    (r"pixel_decoder\.outputs\.0\.0\.", _PIXEL + "layer_1."),
    (r"pixel_decoder\.outputs\.0\.1\.", _PIXEL + "layer_1.norm."),
    (_ENCODER + r"attention\.offsets", _PIXEL + r"transformer.encoder.layers.\1.self_attn.sampling_offsets"),
    (_ENCODER + r"attention\.weights", _PIXEL + r"transformer.encoder.layers.\1.self_attn.attention_weights"),
    (_ENCODER + r"attention\.value", _PIXEL + r"transformer.encoder.layers.\1.self_attn.value_proj"),
    (_ENCODER + r"attention\.out", _PIXEL + r"transformer.encoder.layers.\1.self_attn.output_proj"),
    (_ENCODER + r"norm", _PIXEL + r"transformer.encoder.layers.\1.norm1"),
    (_ENCODER + r"feed_forward\.norm", _PIXEL + r"transformer.encoder.layers.\1.norm2"),
    (_ENCODER + r"feed_forward\.", _PIXEL + r"transformer.encoder.layers.\1."),
    (r"pixel_decoder\.mask_features", _PIXEL + "mask_features"),
    (r"query_decoder\.query_features", _QUERY + "query_feat"),
    (r"query_decoder\.query_positions", _QUERY + "query_embed"),
    (r"query_decoder\.level_embed", _QUERY + "level_embed"),
    (r"query_decoder\.norm", _QUERY + "decoder_norm"),
    (r"query_decoder\.embed_head\.project", _QUERY + "_mask_pooling_proj"),
    (_LAYER + r"cross\.out", _QUERY + r"transformer_cross_attention_layers.\1.multihead_attn.out_proj"),
    (_LAYER + r"cross\.qkv\.", _QUERY + r"transformer_cross_attention_layers.\1.multihead_attn.in_proj_"),
    (_LAYER + r"cross_norm", _QUERY + r"transformer_cross_attention_layers.\1.norm"),
    (_LAYER + r"self_attention\.out", _QUERY + r"transformer_self_attention_layers.\1.self_attn.out_proj"),
    (_LAYER + r"self_attention\.qkv\.", _QUERY + r"transformer_self_attention_layers.\1.self_attn.in_proj_"),
    (_LAYER + r"self_norm", _QUERY + r"transformer_self_attention_layers.\1.norm"),
    (_LAYER + r"feed_forward\.", _QUERY + r"transformer_ffn_layers.\1."),
    (r"log_logit_scale", _QUERY + "logit_scale"),
    (r"clip\.text_encoder\.clip\.", "backbone.clip_model."),
]


def as_fcclip(model: OPSNet, *, with_clip: bool = True) -> dict[str, Tensor]:
    """The network's state dict under FC-CLIP's names, with something of its loss, which nobody needs."""
    ours = {k: v for k, v in model.state_dict().items() if not k.startswith("clip.image_encoder.")}
    for name in [k for k in ours if k.startswith("query_decoder.layers.") and ".q." in k]:
        ours[name.replace(".q.", ".qkv.")] = torch.cat([ours.pop(name.replace(".q.", f".{part}.")) for part in "qkv"])
    theirs = {"criterion.empty_weight": torch.ones(1), "void_embedding.weight": ours.pop("no_object_embed")[None]}
    for name, tensor in ours.items():
        if with_clip or not name.startswith("clip."):
            theirs[_renamed(name)] = tensor.clone()
    return theirs


def _renamed(name: str) -> str:
    for head, part in (("mask_head", "mask_embed"), ("embed_head.mlp", "class_embed")):
        if match := re.fullmatch(rf"query_decoder\.{head}\.(\d)\.(.+)", name):
            return f"{_QUERY}{part}.layers.{int(match[1]) // 2}.{match[2]}"
    for ours, theirs in _NAMES:
        if re.match(ours, name):
            return re.sub(rf"^{ours}", theirs, name)
    raise AssertionError(f"FC-CLIP has no {name}")
