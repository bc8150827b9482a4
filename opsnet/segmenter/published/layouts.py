"""Published weights of Mask2Former and its open-vocabulary relatives under this project's names.

The networks are identical layer by layer; they differ only in names and in whether the three projections of an
attention are stored as one matrix. Two layouts are supported: that of transformers (old and new names) and that of
detectron2, in which the authors published their weights; backbones are ResNets and Swins. FC-CLIP and OVRCOAT use
detectron2's; their backbone is an open_clip model, which may be left out of the file.
OPSNet's own parts (embedding head, IoU head, cross-attention to CLIP) have no counterpart, and neither has the class
head in OPSNet.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from opsnet.segmenter.published.weight_files import WeightsError

# A layout is a list of (pattern of their name, our name). In our name, {n} is the index of a finer map's convolution,
# counted from the finest in theirs and from the coarsest in ours; [n] is the index of a linear layer of the mask head,
# between which ours has ReLUs; (n+1) is one more; <part> is renamed by _PARTS if listed there; "qkv" is one matrix of
# three projections that are separate in ours, and "qkv@q" one of three projections that are a single matrix in ours.
Layout = list[tuple[str, str]]
_PARTS = {
    "sampling_offsets": "offsets",
    "attention_weights": "weights",
    "value_proj": "value",
    "output_proj": "out",
    "fc1": "linear1",
    "fc2": "linear2",
    "final_layer_norm": "norm",
    "norm2": "norm",
    "query": "q",
    "key": "k",
    "value": "v",
    "convolution": "conv",
    "normalization": "bn",
    "layernorm_before": "norm1",
    "layernorm_after": "norm2",
    "intermediate.dense": "mlp.fc1",
    "output.dense": "mlp.fc2",
}
# Not needed for predictions.
_UNUSED = re.compile(
    r"frozen_backbone\..+|criterion\..+|pixel_mean|pixel_std|"
    r".+\.(relative_position_index|attn_mask)|"
    r"(model\.)?pixel_level_module\.encoder\.(swin\.)?layernorm\..+"
)
CLASS_HEAD = "query_decoder.class_head."
CLIP = "clip."
"""Prefix of the weights of an open_clip model in :attr:`Converted.state`."""
_SAMPLING = r"(sampling_offsets|attention_weights|value_proj|output_proj)"
_BATCH_NORM = r"(weight|bias|running_mean|running_var)"


def _transformers_backbones() -> Layout:
    start = r"(?:model\.)?pixel_level_module\.encoder\."
    swin = start + r"(?:swin\.)?"
    block = swin + r"encoder\.layers\.(\d+)\.blocks\.(\d+)\."
    ours = r"backbone.model.layers_\1.blocks.\2."
    stage = start + r"encoder\.stages\.(\d+)\.layers\.(\d+)\."
    unit = r"backbone.model.layer(\1+1).\2."
    return [
        (swin + r"embeddings\.patch_embeddings\.projection\.(.+)", r"backbone.model.patch_embed.proj.\1"),
        (swin + r"embeddings\.norm\.(.+)", r"backbone.model.patch_embed.norm.\1"),
        (block + r"(layernorm_before|layernorm_after)\.(.+)", ours + r"<\3>.\4"),
        (block + r"attention\.(?:self\.)?(query|key|value)\.(.+)", ours + r"attn.qkv@<\3>.\4"),
        (block + r"attention\.(q|k|v)_proj\.(.+)", ours + r"attn.qkv@\3.\4"),
        (block + r"attention\.(?:output\.dense|o_proj)\.(.+)", ours + r"attn.proj.\3"),
        (block + r"attention\.(?:self|relative_position_bias)\.(relative_position_bias_table)", ours + r"attn.\3"),
        (block + r"(intermediate\.dense|output\.dense)\.(.+)", ours + r"<\3>.\4"),
        (block + r"mlp\.(fc1|fc2)\.(.+)", ours + r"mlp.\3.\4"),
        (swin + r"encoder\.layers\.(\d+)\.downsample\.(.+)", r"backbone.model.layers_(\1+1).downsample.\2"),
        (start + r"hidden_states_norms\.stage(\d+)\.(.+)", r"backbone.norms.(\1-1).\2"),
        (start + r"embedder\.embedder\.convolution\.(.+)", r"backbone.model.conv1.\1"),
        (start + r"embedder\.embedder\.normalization\.(.+)", r"backbone.model.bn1.\1"),
        (stage + r"shortcut\.convolution\.(.+)", unit + r"downsample.0.\3"),
        (stage + r"shortcut\.normalization\.(.+)", unit + r"downsample.1.\3"),
        (stage + r"layer\.(\d)\.(convolution|normalization)\.(.+)", unit + r"<\4>(\3+1).\5"),
    ]


def _detectron2_backbones() -> Layout:
    block = r"backbone\.layers\.(\d+)\.blocks\.(\d+)\."
    part = r"(norm1|attn\.qkv|attn\.proj|norm2|mlp\.fc1|mlp\.fc2)"
    unit, ours = r"backbone\.res(\d)\.(\d+)\.", r"backbone.model.layer(\1-1).\2."
    return [
        (r"backbone\.patch_embed\.(proj|norm)\.(.+)", r"backbone.model.patch_embed.\1.\2"),
        (block + part + r"\.(weight|bias)", r"backbone.model.layers_\1.blocks.\2.\3.\4"),
        (
            block + r"attn\.relative_position_bias_table",
            r"backbone.model.layers_\1.blocks.\2.attn.relative_position_bias_table",
        ),
        (r"backbone\.layers\.(\d+)\.downsample\.(.+)", r"backbone.model.layers_(\1+1).downsample.\2"),
        (r"backbone\.norm(\d)\.(.+)", r"backbone.norms.\1.\2"),
        (r"backbone\.stem\.conv1\.weight", r"backbone.model.conv1.weight"),
        (r"backbone\.stem\.conv1\.norm\." + _BATCH_NORM, r"backbone.model.bn1.\1"),
        (unit + r"shortcut\.weight", ours + r"downsample.0.weight"),
        (unit + r"shortcut\.norm\." + _BATCH_NORM, ours + r"downsample.1.\3"),
        (unit + r"conv(\d)\.weight", ours + r"conv\3.weight"),
        (unit + r"conv(\d)\.norm\." + _BATCH_NORM, ours + r"bn\3.\4"),
    ]


def _transformers_decoders() -> Layout:
    pixel, query = r"(?:model\.)?pixel_level_module\.decoder\.", r"(?:model\.)?transformer_module\."
    encoder, decoder = pixel + r"encoder\.layers\.(\d+)\.", query + r"decoder\.layers\.(\d+)\."
    return [
        (pixel + r"input_projections\.(\d+)\.(.+)", r"pixel_decoder.input_projections.\1.\2"),
        (pixel + r"level_embed", r"pixel_decoder.level_embed"),
        (pixel + r"mask_projection\.(.+)", r"pixel_decoder.mask_features.\1"),
        (pixel + r"adapter_(\d+)\.(.+)", r"pixel_decoder.laterals.{\1}.\2"),
        (pixel + r"layer_(\d+)\.(.+)", r"pixel_decoder.outputs.{\1}.\2"),
        (encoder + r"self_attn\." + _SAMPLING + r"\.(.+)", r"pixel_decoder.layers.\1.attention.<\2>.\3"),
        (encoder + r"self_attn_layer_norm\.(.+)", r"pixel_decoder.layers.\1.norm.\2"),
        (encoder + r"(fc1|fc2|final_layer_norm)\.(.+)", r"pixel_decoder.layers.\1.feed_forward.<\2>.\3"),
        (r"class_predictor\.(.+)", CLASS_HEAD + r"\1"),
        (query + r"queries_features\.weight", r"query_decoder.query_features.weight"),
        (query + r"queries_embedder\.weight", r"query_decoder.query_positions.weight"),
        (query + r"level_embed\.weight", r"query_decoder.level_embed.weight"),
        (query + r"decoder\.layernorm\.(.+)", r"query_decoder.norm.\1"),
        (query + r"decoder\.mask_predictor\.mask_embedder\.(\d)\.0\.(.+)", r"query_decoder.mask_head.[\1].\2"),
        (decoder + r"cross_attn\.in_proj_(.+)", r"query_decoder.layers.\1.cross.qkv.\2"),
        (decoder + r"cross_attn\.out_proj\.(.+)", r"query_decoder.layers.\1.cross.out.\2"),
        (decoder + r"self_attn\.(q|k|v|out)_proj\.(.+)", r"query_decoder.layers.\1.self_attention.\2.\3"),
        (decoder + r"(cross|self)_attn_layer_norm\.(.+)", r"query_decoder.layers.\1.\2_norm.\3"),
        (decoder + r"(fc1|fc2|final_layer_norm)\.(.+)", r"query_decoder.layers.\1.feed_forward.<\2>.\3"),
    ]


def _detectron2_decoders() -> Layout:
    pixel, query = r"sem_seg_head\.pixel_decoder\.", r"sem_seg_head\.predictor\."
    encoder = pixel + r"transformer\.encoder\.layers\.(\d+)\."
    cross, own = (query + rf"transformer_{kind}_attention_layers\.(\d+)\." for kind in ("cross", "self"))
    return [
        (pixel + r"input_proj\.(\d+)\.(.+)", r"pixel_decoder.input_projections.\1.\2"),
        (pixel + r"transformer\.level_embed", r"pixel_decoder.level_embed"),
        (pixel + r"mask_features\.(.+)", r"pixel_decoder.mask_features.\1"),
        (pixel + r"adapter_(\d+)\.weight", r"pixel_decoder.laterals.{\1}.0.weight"),
        (pixel + r"adapter_(\d+)\.norm\.(.+)", r"pixel_decoder.laterals.{\1}.1.\2"),
        (pixel + r"layer_(\d+)\.weight", r"pixel_decoder.outputs.{\1}.0.weight"),
        (pixel + r"layer_(\d+)\.norm\.(.+)", r"pixel_decoder.outputs.{\1}.1.\2"),
        (encoder + r"self_attn\." + _SAMPLING + r"\.(.+)", r"pixel_decoder.layers.\1.attention.<\2>.\3"),
        (encoder + r"norm1\.(.+)", r"pixel_decoder.layers.\1.norm.\2"),
        (encoder + r"(linear1|linear2|norm2)\.(.+)", r"pixel_decoder.layers.\1.feed_forward.<\2>.\3"),
        (query + r"class_embed\.layers\.(\d)\.(.+)", r"query_decoder.embed_head.mlp.[\1].\2"),
        (query + r"_mask_pooling_proj\.(.+)", r"query_decoder.embed_head.project.\1"),
        (query + r"logit_scale", r"log_logit_scale"),
        (r"void_embedding\.weight", r"no_object_embed"),
        (r"backbone\.clip_model\.(.+)", CLIP + r"\1"),
        (query + r"class_embed\.(.+)", CLASS_HEAD + r"\1"),
        (query + r"(?:query_feat|static_query)\.weight", r"query_decoder.query_features.weight"),
        (query + r"query_embed\.weight", r"query_decoder.query_positions.weight"),
        (query + r"level_embed\.weight", r"query_decoder.level_embed.weight"),
        (query + r"decoder_norm\.(.+)", r"query_decoder.norm.\1"),
        (query + r"mask_embed\.layers\.(\d)\.(.+)", r"query_decoder.mask_head.[\1].\2"),
        (cross + r"multihead_attn\.in_proj_(.+)", r"query_decoder.layers.\1.cross.qkv.\2"),
        (cross + r"multihead_attn\.out_proj\.(.+)", r"query_decoder.layers.\1.cross.out.\2"),
        (cross + r"norm\.(.+)", r"query_decoder.layers.\1.cross_norm.\2"),
        (own + r"self_attn\.in_proj_(.+)", r"query_decoder.layers.\1.self_attention.qkv.\2"),
        (own + r"self_attn\.out_proj\.(.+)", r"query_decoder.layers.\1.self_attention.out.\2"),
        (own + r"norm\.(.+)", r"query_decoder.layers.\1.self_norm.\2"),
        (
            query + r"transformer_ffn_layers\.(\d+)\.(linear1|linear2|norm)\.(.+)",
            r"query_decoder.layers.\1.feed_forward.<\2>.\3",
        ),
    ]


@dataclass(frozen=True)
class Converted:
    """Weights under this project's names.

    Attributes:
        state: tensors by name, for ``OPSNet.load_state_dict``.
        unused: names in the source that are not needed (parts of the loss).
        unknown: names in the source that a Mask2Former of this design does not have.
    """

    state: dict[str, Tensor]
    unused: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


def convert(source: Mapping[str, Tensor]) -> Converted:
    """Converts a Mask2Former's state dict in the layout of transformers or detectron2, or one already converted.

    Raises:
        WeightsError: the state dict has no decoder of Mask2Former.
    """
    if any(name.startswith("query_decoder.") for name in source):
        return Converted(dict(source))
    if any(name.startswith("sem_seg_head.") for name in source):
        layout = _detectron2_backbones() + _detectron2_decoders()
    else:
        layout = _transformers_backbones() + _transformers_decoders()
    finer = len({match[1] for name in source if (match := re.search(r"\.adapter_(\d+)\.", name))})
    state: dict[str, Tensor] = {}
    unused, unknown = [], []
    for name, tensor in source.items():
        # Counters do not affect predictions, and detectron2 does not store them.
        if name.endswith("num_batches_tracked") and not name.startswith("backbone.clip_model."):
            continue
        if _UNUSED.fullmatch(name):
            unused.append(name)
            continue
        renamed = _rename(name, layout, finer)
        if renamed is None:
            unknown.append(name)
        elif ".qkv." in renamed and renamed.startswith("query_decoder."):
            for part, rows in zip("qkv", tensor.chunk(3), strict=True):
                state[renamed.replace(".qkv.", f".{part}.")] = rows
        else:
            state[renamed] = tensor
    if not any(name.startswith(("pixel_decoder.", "query_decoder.")) for name in state):
        raise WeightsError(
            f"no pixel or query decoder among the {len(source)} tensors of this state dict: give the weights of a "
            "Mask2Former, in transformers' or detectron2's layout"
        )
    if "no_object_embed" in state:  # a table of one row
        state["no_object_embed"] = state["no_object_embed"].flatten()
    return Converted(_joined(state), tuple(unused), tuple(unknown))


def _rename(name: str, layout: Layout, finer: int) -> str | None:
    for pattern, template in layout:
        match = re.fullmatch(pattern, name)
        if match:
            text = match.expand(template)
            text = re.sub(r"\{(\d+)\}", lambda m: str(finer - int(m[1])), text)
            text = re.sub(r"\[(\d)\]", lambda m: str(2 * int(m[1])), text)
            text = re.sub(r"\((\d+)([+-]1)\)", lambda m: str(int(m[1]) + int(m[2])), text)
            return re.sub(r"<([\w.]+)>", lambda m: _PARTS.get(m[1], m[1]), text)
    return None


def _joined(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Stacks the projections of queries, keys and values into one matrix where the names require it."""
    found = {name: tensor for name, tensor in state.items() if "qkv@" not in name}
    for name in state:
        if "qkv@q" in name:
            three = [state[other] for part in "qkv" if (other := name.replace("qkv@q", f"qkv@{part}")) in state]
            found[name.replace("@q", "")] = torch.cat(three)
    return found
