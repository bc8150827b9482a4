"""Random Mask2Formers of transformers, and the same weights with detectron2's names."""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor
from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation, ResNetConfig, SwinConfig

STAGES = ["stage1", "stage2", "stage3", "stage4"]

SMALL: dict[str, Any] = {
    "feature_size": 256, "mask_feature_size": 256, "hidden_dim": 256, "encoder_feedforward_dim": 32,
    "dim_feedforward": 32, "encoder_layers": 1, "decoder_layers": 4, "num_attention_heads": 8, "num_queries": 7,
}  # fmt: skip
OURS = [  # the network of SMALL in this project, with a random CLIP
    "backbone=r50", "clip=tiny", "clip.model.weights=random", "modulation=clip_only", "filtering=objectness",
    "+backbone.model_args={layers: [1, 1, 1, 1], channels: [4, 8, 16, 32]}",
    "+model.pixel_decoder.layers=1", "+model.pixel_decoder.hidden=32", "+model.query_decoder.layers=3",
    "+model.query_decoder.hidden=32", "model.query_decoder.queries=7", "model.query_decoder.clip_attention=null",
]  # fmt: skip


def swin(**sizes: Any) -> SwinConfig:
    return SwinConfig(out_features=STAGES, drop_path_rate=0.0, **sizes)


def resnet(**sizes: Any) -> ResNetConfig:
    return ResNetConfig(out_features=STAGES, **sizes)


def random_peer(backbone: Any, *, seed: int = 0, **sizes: Any) -> Mask2FormerForUniversalSegmentation:
    """A Mask2Former with every weight random, biases, norms and statistics too: zeros would hide swapped names."""
    torch.manual_seed(seed)
    peer = Mask2FormerForUniversalSegmentation(Mask2FormerConfig(backbone_config=backbone, dropout=0.0, **sizes)).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in peer.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim == 1 or re.search("relative_position|sampling_offsets|attention_weights", name):
                parameter.add_(0.1 * noise)
        for name, buffer in peer.named_buffers():
            if name.endswith("running_mean"):
                buffer.add_(0.1 * torch.randn(buffer.shape, generator=generator))
            elif name.endswith("running_var"):
                buffer.add_(torch.rand(buffer.shape, generator=generator))
    return peer


# transformers' names -> detectron2's, in which the authors published their weights; the first match is applied.
_PIXEL, _QUERY = "sem_seg_head.pixel_decoder.", "sem_seg_head.predictor."
_NAMES: list[tuple[str, str]] = [
    (
        r"model\.pixel_level_module\.encoder\.(?:swin\.)?embeddings\.patch_embeddings\.projection\.",
        "backbone.patch_embed.proj.",
    ),
    (r"model\.pixel_level_module\.encoder\.(?:swin\.)?embeddings\.norm\.", "backbone.patch_embed.norm."),
    (r"model\.pixel_level_module\.encoder\.(?:swin\.)?encoder\.layers\.", "backbone.layers."),
    (r"model\.pixel_level_module\.encoder\.embedder\.embedder\.convolution\.", "backbone.stem.conv1."),
    (r"model\.pixel_level_module\.encoder\.embedder\.embedder\.normalization\.", "backbone.stem.conv1.norm."),
    (r"model\.pixel_level_module\.decoder\.encoder\.layers\.", _PIXEL + "transformer.encoder.layers."),
    (r"model\.pixel_level_module\.decoder\.level_embed", _PIXEL + "transformer.level_embed"),
    (r"model\.pixel_level_module\.decoder\.input_projections\.", _PIXEL + "input_proj."),
    (r"model\.pixel_level_module\.decoder\.mask_projection\.", _PIXEL + "mask_features."),
    (r"model\.pixel_level_module\.decoder\.", _PIXEL),
    (r"model\.transformer_module\.queries_features\.", _QUERY + "query_feat."),
    (r"model\.transformer_module\.queries_embedder\.", _QUERY + "query_embed."),
    (r"model\.transformer_module\.level_embed\.", _QUERY + "level_embed."),
    (r"model\.transformer_module\.decoder\.layernorm\.", _QUERY + "decoder_norm."),
    (
        r"model\.transformer_module\.decoder\.mask_predictor\.mask_embedder\.(\d)\.0\.",
        _QUERY + r"mask_embed.layers.\1.",
    ),
    (r"class_predictor\.", _QUERY + "class_embed."),
]
_SWIN_PARTS = [
    ("layernorm_before", "norm1"),
    ("layernorm_after", "norm2"),
    ("attention.o_proj", "attn.proj"),
    ("attention.relative_position_bias.relative", "attn.relative"),
]  # fmt: skip
_LAYER_PARTS = [
    ("fc1", "linear1"),
    ("fc2", "linear2"),
    ("self_attn_layer_norm", "norm1"),
    ("final_layer_norm", "norm2"),
]


def in_detectron2s_layout(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same weights with detectron2's names."""
    found: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if name.endswith("num_batches_tracked") or ".encoder.swin.layernorm." in name:
            continue  # detectron2 has neither
        if name.startswith("model.transformer_module.decoder.layers."):
            found.update(_decoder_layer(name, tensor, state))
        elif ".k_proj." in name or ".v_proj." in name:
            continue  # stored with the queries' below
        elif "hidden_states_norms" in name:
            found[re.sub(r".*stage(\d)", lambda m: f"backbone.norm{int(m[1]) - 1}", name)] = tensor
        elif match := re.search(r"encoder\.encoder\.stages\.(\d)\.layers\.(\d+)\.(shortcut|layer\.(\d))\.(.+)", name):
            part = "shortcut" if match[4] is None else f"conv{int(match[4]) + 1}"
            end = match[5].replace("convolution.", "").replace("normalization", "norm")
            found[f"backbone.res{int(match[1]) + 2}.{match[2]}.{part}.{end}"] = tensor
        elif "blocks" in name and ".attention.q_proj." in name:
            three = torch.cat([state[name.replace("q_proj", f"{letter}_proj")] for letter in "qkv"])
            found[_renamed(name.replace("attention.q_proj", "attn.qkv"), [])] = three
        else:
            parts = _LAYER_PARTS if ".decoder.encoder.layers." in name else _SWIN_PARTS if "blocks" in name else []
            found[_renamed(name, parts)] = tensor
    return found


def _renamed(name: str, parts: list[tuple[str, str]]) -> str:
    for pattern, other in _NAMES:
        if re.match(pattern, name):
            name = re.sub(pattern, other, name)
            break
    for old, new in parts:
        name = name.replace(f".{old}", f".{new}")
    for kind in ("adapter_1", "layer_1"):
        name = name.replace(f"{_PIXEL}{kind}.0.", f"{_PIXEL}{kind}.").replace(
            f"{_PIXEL}{kind}.1.", f"{_PIXEL}{kind}.norm."
        )
    return name


def _decoder_layer(name: str, tensor: Tensor, state: dict[str, Tensor]) -> dict[str, Tensor]:
    number, rest = name.removeprefix("model.transformer_module.decoder.layers.").split(".", 1)
    for part, kind, inner in (("cross_attn", "cross", "multihead_attn"), ("self_attn", "self", "self_attn")):
        layer = f"{_QUERY}transformer_{kind}_attention_layers.{number}."
        if rest.startswith(f"{part}_layer_norm."):
            return {layer + rest.replace(f"{part}_layer_norm", "norm"): tensor}
        if rest.startswith(f"{part}.q_proj."):
            end = rest.rsplit(".", 1)[1]
            three = [state[name.replace("q_proj", f"{letter}_proj")] for letter in "qkv"]
            return {f"{layer}{inner}.in_proj_{end}": torch.cat(three)}
        if rest.startswith((f"{part}.k_proj", f"{part}.v_proj")):
            return {}
        if rest.startswith(f"{part}."):
            return {layer + rest.replace(part, inner, 1): tensor}
    for theirs, other in (("fc1", "linear1"), ("fc2", "linear2"), ("final_layer_norm", "norm")):
        if rest.startswith(f"{theirs}."):
            return {f"{_QUERY}transformer_ffn_layers.{number}." + rest.replace(theirs, other): tensor}
    raise AssertionError(f"no detectron2 name for {name}")
