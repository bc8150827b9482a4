"""Published Mask2Former weights under this project's names: pixel decoder and query decoder, without the class head.

Both networks are the same, layer by layer; only names differ, and one attention keeps its three projections in one
matrix. OPSNet's own parts (embedding head, IoU head, cross-attention to CLIP) have no counterpart and stay as they are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from opsnet.errors import InputError

_PIXEL = r"model\.pixel_level_module\.decoder\."
_QUERY = r"model\.transformer_module\."
# transformers' name -> ours. The finer maps' convolutions are numbered finest first there and coarsest first here.
_RENAMES: tuple[tuple[str, str], ...] = (
    (_PIXEL + r"input_projections\.(\d+)\.(.+)", r"pixel_decoder.input_projections.\1.\2"),
    (_PIXEL + r"level_embed", r"pixel_decoder.level_embed"),
    (_PIXEL + r"mask_projection\.(.+)", r"pixel_decoder.mask_features.\1"),
    (_PIXEL + r"adapter_(\d+)\.(.+)", r"pixel_decoder.laterals.{\1}.\2"),
    (_PIXEL + r"layer_(\d+)\.(.+)", r"pixel_decoder.outputs.{\1}.\2"),
    (
        _PIXEL
        + r"encoder\.layers\.(\d+)\.self_attn\.(sampling_offsets|attention_weights|value_proj|output_proj)\.(.+)",
        r"pixel_decoder.layers.\1.attention.<\2>.\3",
    ),
    (_PIXEL + r"encoder\.layers\.(\d+)\.self_attn_layer_norm\.(.+)", r"pixel_decoder.layers.\1.norm.\2"),
    (
        _PIXEL + r"encoder\.layers\.(\d+)\.(fc1|fc2|final_layer_norm)\.(.+)",
        r"pixel_decoder.layers.\1.feed_forward.<\2>.\3",
    ),
    (_QUERY + r"queries_features\.weight", r"query_decoder.query_features.weight"),
    (_QUERY + r"queries_embedder\.weight", r"query_decoder.query_positions.weight"),
    (_QUERY + r"level_embed\.weight", r"query_decoder.level_embed.weight"),
    (_QUERY + r"decoder\.layernorm\.(.+)", r"query_decoder.norm.\1"),
    (_QUERY + r"decoder\.mask_predictor\.mask_embedder\.(\d)\.0\.(.+)", r"query_decoder.mask_head.[\1].\2"),
    (_QUERY + r"decoder\.layers\.(\d+)\.cross_attn\.in_proj_(.+)", r"query_decoder.layers.\1.cross.qkv.\2"),
    (_QUERY + r"decoder\.layers\.(\d+)\.cross_attn\.out_proj\.(.+)", r"query_decoder.layers.\1.cross.out.\2"),
    (
        _QUERY + r"decoder\.layers\.(\d+)\.self_attn\.(q|k|v|out)_proj\.(.+)",
        r"query_decoder.layers.\1.self_attention.\2.\3",
    ),
    (_QUERY + r"decoder\.layers\.(\d+)\.(cross|self)_attn_layer_norm\.(.+)", r"query_decoder.layers.\1.\2_norm.\3"),
    (
        _QUERY + r"decoder\.layers\.(\d+)\.(fc1|fc2|final_layer_norm)\.(.+)",
        r"query_decoder.layers.\1.feed_forward.<\2>.\3",
    ),
)
_PARTS = {
    "sampling_offsets": "offsets",
    "attention_weights": "weights",
    "value_proj": "value",
    "output_proj": "out",
    "fc1": "linear1",
    "fc2": "linear2",
    "final_layer_norm": "norm",
}


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


def from_transformers(source: Mapping[str, Tensor]) -> Converted:
    """Pixel decoder and query decoder of a ``Mask2FormerForUniversalSegmentation`` state dict.

    Raises:
        WeightsError: no decoder of Mask2Former is in there.
    """
    # A bare Mask2FormerModel has the same names without the prefix of the whole.
    names = {
        name if name.startswith(("model.", "class_predictor.", "criterion.")) else f"model.{name}": name
        for name in source
    }
    levels = sum(bool(re.fullmatch(_PIXEL + r"adapter_\d+\.0\.weight", name)) for name in names)
    state: dict[str, Tensor] = {}
    left = []
    for name, original in names.items():
        renamed = _rename(name, levels)
        if renamed is None:
            left.append(original)
        elif ".qkv." in renamed:
            for part, tensor in zip("qkv", source[original].chunk(3), strict=True):
                state[renamed.replace(".qkv.", f".{part}.")] = tensor
        else:
            state[renamed] = source[original]
    if not state:
        raise WeightsError(
            f"no pixel or query decoder among the {len(source)} tensors of this state dict: give the weights of a "
            "transformers Mask2Former"
        )
    return Converted(state, tuple(left))


def _rename(name: str, levels: int) -> str | None:
    for pattern, template in _RENAMES:
        match = re.fullmatch(pattern, name)
        if match:
            text = match.expand(template)
            text = re.sub(r"\{(\d+)\}", lambda m: str(levels - int(m[1])), text)
            text = re.sub(r"\[(\d)\]", lambda m: str(2 * int(m[1])), text)  # a ReLU stands between the linear layers
            return re.sub(r"<(\w+)>", lambda m: _PARTS[m[1]], text)
    return None
