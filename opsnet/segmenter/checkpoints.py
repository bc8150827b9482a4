"""Published Mask2Former weights under this project's names: pixel decoder and query decoder, without the class head.

Both networks are the same, layer by layer; only names differ, and some attentions keep their three projections in one
matrix. Two layouts are read, that of transformers and that of detectron2, in which the authors' own weights come.
OPSNet's own parts (embedding head, IoU head, cross-attention to CLIP) have no counterpart and stay as they are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from opsnet.errors import InputError

# A layout is a list of (pattern of their name, our name). In our name, {n} is the number of a finer map's convolution,
# counted from the finest in theirs and from the coarsest in ours; [n] is the number of a linear layer of the mask head,
# between which a ReLU stands in ours; <part> is renamed by _PARTS where it stands there; "qkv" stands for three
# projections in one matrix.
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
}
_SAMPLING = r"(sampling_offsets|attention_weights|value_proj|output_proj)"


def _transformers() -> Layout:
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


def _detectron2() -> Layout:
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


class WeightsError(InputError):
    """Published weights that cannot be used; the message names what is wrong and the fix."""


@dataclass(frozen=True)
class Converted:
    """Weights under this project's names.

    Attributes:
        state: by name, as ``OPSNet.load_state_dict`` takes them.
        left: names of the source that have no counterpart here (the class head, the backbone).
    """

    state: dict[str, Tensor]
    left: tuple[str, ...]


def convert_decoders(source: Mapping[str, Tensor]) -> Converted:
    """Pixel decoder and query decoder of a Mask2Former state dict in transformers' or detectron2's layout.

    Raises:
        WeightsError: no decoder of Mask2Former is in there.
    """
    layout = _detectron2() if any(name.startswith("sem_seg_head.") for name in source) else _transformers()
    finer = {match[1] for name in source if (match := re.search(r"\.adapter_(\d+)\.", name))}
    state: dict[str, Tensor] = {}
    left = []
    for name, tensor in source.items():
        renamed = _rename(name, layout, len(finer))
        if renamed is None:
            left.append(name)
        elif ".qkv." in renamed:
            for part, rows in zip("qkv", tensor.chunk(3), strict=True):
                state[renamed.replace(".qkv.", f".{part}.")] = rows
        else:
            state[renamed] = tensor
    if not state:
        raise WeightsError(
            f"no pixel or query decoder among the {len(source)} tensors of this state dict: give the weights of a "
            "Mask2Former, in transformers' or detectron2's layout"
        )
    return Converted(state, tuple(left))


def _rename(name: str, layout: Layout, finer: int) -> str | None:
    for pattern, template in layout:
        match = re.fullmatch(pattern, name)
        if match:
            text = match.expand(template)
            text = re.sub(r"\{(\d+)\}", lambda m: str(finer - int(m[1])), text)
            text = re.sub(r"\[(\d)\]", lambda m: str(2 * int(m[1])), text)
            return re.sub(r"<(\w+)>", lambda m: _PARTS.get(m[1], m[1]), text)
    return None
