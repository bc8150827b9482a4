"""Writes networks of this project in the layouts of published weights: FC-CLIP's and OVRCOAT's, with random numbers."""

from __future__ import annotations

import json
import pickle
import re
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from opsnet.clip.frozen_clip import FrozenClip
from opsnet.clip.loading import custom_clip
from opsnet.clip.shared_backbone import SharedClipBackbone
from opsnet.model import OPSNet
from opsnet.segmenter.pixel_decoder import PixelDecoder
from opsnet.segmenter.query_decoder import QueryDecoder

TEXT = {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
CONVNEXT = {
    "embed_dim": 32,
    "vision_cfg": {
        "timm_model_name": "test_convnext", "timm_model_pretrained": False, "timm_pool": "", "timm_proj": "mlp",
        "timm_drop": 0.0, "timm_drop_path": 0.0, "image_size": 64,
    },
    "text_cfg": TEXT,
}  # fmt: skip
RESNET = {
    "embed_dim": 32,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8, "patch_size": None},
    "text_cfg": TEXT,
}
CLIPS = {"convnext": CONVNEXT, "resnet": RESNET}
POOLING = {"convnext": "project_after", "resnet": "attention"}
SMALL: dict[str, Any] = {
    "dim": 64, "queries": 12, "encoder_layers": 1, "encoder_hidden": 48, "layers": 3, "hidden": 40,
}  # fmt: skip
PUBLISHED: dict[str, Any] = {
    "dim": 256, "queries": 250, "encoder_layers": 6, "encoder_hidden": 1024, "layers": 9, "hidden": 2048,
}  # fmt: skip

_PIXEL, _QUERY = "sem_seg_head.pixel_decoder.", "sem_seg_head.predictor."
_ENCODER = _PIXEL + r"transformer.encoder.layers.\1."
_CROSS, _SELF = (_QUERY + rf"transformer_{kind}_attention_layers.\1." for kind in ("cross", "self"))
_ENCODER_LAYER, _DECODER_LAYER = r"pixel_decoder\.layers\.(\d+)\.", r"query_decoder\.layers\.(\d+)\."
# Our names -> FC-CLIP's; the first match is applied. The three parts of a projection are joined by `fcclip_state`.
_NAMES = [
    (r"pixel_decoder\.input_projections\.", _PIXEL + "input_proj."),
    (r"pixel_decoder\.level_embed", _PIXEL + "transformer.level_embed"),
    (r"pixel_decoder\.mask_features\.", _PIXEL + "mask_features."),
    (r"pixel_decoder\.laterals\.0\.0\.", _PIXEL + "adapter_1."),
    (r"pixel_decoder\.laterals\.0\.1\.", _PIXEL + "adapter_1.norm."),
    (r"pixel_decoder\.outputs\.0\.0\.", _PIXEL + "layer_1."),
    (r"pixel_decoder\.outputs\.0\.1\.", _PIXEL + "layer_1.norm."),
    (_ENCODER_LAYER + r"attention\.offsets\.", _ENCODER + "self_attn.sampling_offsets."),
    (_ENCODER_LAYER + r"attention\.weights\.", _ENCODER + "self_attn.attention_weights."),
    (_ENCODER_LAYER + r"attention\.value\.", _ENCODER + "self_attn.value_proj."),
    (_ENCODER_LAYER + r"attention\.out\.", _ENCODER + "self_attn.output_proj."),
    (_ENCODER_LAYER + r"norm\.", _ENCODER + "norm1."),
    (_ENCODER_LAYER + r"feed_forward\.norm\.", _ENCODER + "norm2."),
    (_ENCODER_LAYER + r"feed_forward\.", _ENCODER),
    (r"query_decoder\.query_features\.", _QUERY + "query_feat."),
    (r"query_decoder\.query_positions\.", _QUERY + "query_embed."),
    (r"query_decoder\.level_embed\.", _QUERY + "level_embed."),
    (r"query_decoder\.norm\.", _QUERY + "decoder_norm."),
    (r"query_decoder\.mask_head\.0\.", _QUERY + "mask_embed.layers.0."),
    (r"query_decoder\.mask_head\.2\.", _QUERY + "mask_embed.layers.1."),
    (r"query_decoder\.mask_head\.4\.", _QUERY + "mask_embed.layers.2."),
    (r"query_decoder\.embed_head\.mlp\.0\.", _QUERY + "class_embed.layers.0."),
    (r"query_decoder\.embed_head\.mlp\.2\.", _QUERY + "class_embed.layers.1."),
    (r"query_decoder\.embed_head\.mlp\.4\.", _QUERY + "class_embed.layers.2."),
    (r"query_decoder\.embed_head\.project\.", _QUERY + "_mask_pooling_proj."),
    (_DECODER_LAYER + r"cross\.qkv\.", _CROSS + "multihead_attn.in_proj_"),
    (_DECODER_LAYER + r"cross\.out\.", _CROSS + "multihead_attn.out_proj."),
    (_DECODER_LAYER + r"cross_norm\.", _CROSS + "norm."),
    (_DECODER_LAYER + r"self_attention\.qkv\.", _SELF + "self_attn.in_proj_"),
    (_DECODER_LAYER + r"self_attention\.out\.", _SELF + "self_attn.out_proj."),
    (_DECODER_LAYER + r"self_norm\.", _SELF + "norm."),
    (_DECODER_LAYER + r"feed_forward\.", _QUERY + r"transformer_ffn_layers.\1."),
    (r"log_logit_scale", _QUERY + "logit_scale"),
    (r"no_object_embed", "void_embedding.weight"),
]


def fcclip_network(
    clip: nn.Module, pooling: str, *, dim: int, queries: int, encoder_layers: int, encoder_hidden: int, layers: int,
    hidden: int,
) -> OPSNet:  # fmt: skip
    """An untrained network of FC-CLIP's design, on a given open_clip model.

    Args:
        clip: the open_clip model.
        pooling: FC-CLIP's for this kind of trunk, see :data:`POOLING`.
        dim, queries, encoder_layers, encoder_hidden, layers, hidden: sizes of the decoders.
    """
    from open_clip.tokenizer import SimpleTokenizer

    pixels = partial(PixelDecoder, dim=dim, mask_dim=dim, layers=encoder_layers, hidden=encoder_hidden, norm_groups=32)
    decoder = partial(
        QueryDecoder, mask_dim=dim, dim=dim, layers=layers, hidden=hidden, queries=queries, clip_attention=None,
        embed_head="mask_pooled", iou_head=False,
    )  # fmt: skip
    frozen = FrozenClip(model=clip, tokenizer=SimpleTokenizer(), templates="vild14", pooling=pooling)
    return OPSNet(
        backbone=SharedClipBackbone(), pixel_decoder=pixels, query_decoder=decoder, clip=frozen, learn_logit_scale=True
    ).eval()


def small_network(kind: str, *, seed: int = 0) -> OPSNet:
    """A small network of FC-CLIP's design with every weight random: zeros and ones would hide swapped names."""
    torch.manual_seed(seed)
    network = fcclip_network(custom_clip(config=CLIPS[kind]), POOLING[kind], **SMALL)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if name.endswith("running_var"):
                tensor.add_(torch.rand_like(tensor))
            elif "mask_head.4." in name or "mask_features." in name:
                tensor.normal_(0, 0.3)  # some pixels inside a mask and some outside
            elif tensor.is_floating_point() and "logit_scale" not in name:
                tensor.add_(0.1 * torch.randn_like(tensor))
    return network


def fcclip_state(network: OPSNet, *, with_clip: bool = True) -> dict[str, Tensor]:
    """The weights of a network with the names of FC-CLIP's checkpoints, in detectron2's layout."""
    own = {name: tensor for name, tensor in network.state_dict().items() if not name.startswith("clip.")}
    state: dict[str, Tensor] = {}
    for name, tensor in own.items():
        if re.search(r"(cross|self_attention)\.[kv]\.", name):
            continue
        if match := re.search(r"(cross|self_attention)\.q\.", name):
            parts = [own[name.replace(match[0], f"{match[1]}.{part}.")] for part in "qkv"]
            name, tensor = name.replace(match[0], f"{match[1]}.qkv."), torch.cat(parts)
        state[_renamed(name)] = tensor
    state["void_embedding.weight"] = state["void_embedding.weight"][None]
    state["criterion.empty_weight"] = torch.ones(134)
    clip = network.clip.text_encoder.clip.state_dict() if with_clip else {}
    return {**{f"backbone.clip_model.{name}": tensor for name, tensor in clip.items()}, **state}


def ovrcoat_state(network: OPSNet) -> dict[str, Tensor]:
    """The same in OVRCOAT's checkpoints, which also hold the CLIP from before the fine-tuning: here another one."""
    state = fcclip_state(network)
    before = {name: tensor for name, tensor in state.items() if name.startswith("backbone.")}
    return {**state, **{f"frozen_{name}": torch.zeros_like(tensor) for name, tensor in before.items()}}


def _renamed(name: str) -> str:
    for pattern, theirs in _NAMES:
        if re.match(pattern, name):
            return re.sub(pattern, theirs, name)
    raise AssertionError(f"FC-CLIP has no name for {name}")


def write_pth(state: dict[str, Tensor], path: Path, dtype: torch.dtype = torch.float32) -> Path:
    """Writes PyTorch's format, in which detectron2 saves: ``{"model": ...}``."""
    numbers = {name: tensor.to(dtype) if tensor.is_floating_point() else tensor for name, tensor in state.items()}
    torch.save({"model": numbers}, path)
    return path


def write_pkl(state: dict[str, Tensor], path: Path) -> Path:
    """Writes the pickle of arrays in which detectron2 publishes."""
    arrays = {name: tensor.detach().numpy() for name, tensor in state.items()}
    path.write_bytes(pickle.dumps({"model": arrays, "__author__": "a test"}, protocol=2))
    return path


def write_clip_config(kind: str, folder: Path) -> Path:
    """Writes the ``open_clip_config.json`` of :data:`CLIPS`."""
    path = folder / f"open_clip_config_{kind}.json"
    path.write_text(json.dumps({"model_cfg": CLIPS[kind]}))
    return path


def write_clip(network: OPSNet, path: Path) -> Path:
    """Writes the weights of a network's CLIP as open_clip does."""
    torch.save(network.clip.text_encoder.clip.state_dict(), path)
    return path
