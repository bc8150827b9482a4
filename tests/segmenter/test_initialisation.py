"""Initialization of the decoders: the distribution of every parameter against Mask2Former's published code.

The rules are those of its ``_reset_parameters`` and ``c2_xavier_fill``, and PyTorch's defaults for the rest.
transformers' port differs in places (separate q, k, v in self-attention; normal weights in the convolutions of the
pixel decoder), so it is only compared where it agrees: masked attention and deformable attention.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable

import pytest
import torch
from mask2former_peer import resnet
from torch import Tensor, nn
from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation

from opsnet.segmenter.pixel_decoder import PixelDecoder
from opsnet.segmenter.query_decoder import ClipAttention, QueryDecoder

DIM, HIDDEN, CLIP_DIM, CHANNELS = 64, 96, 48, (24, 40, 56, 72)


def uniform(bound: float) -> Callable[[Tensor], None]:
    """A check that values are uniform in -bound..bound."""

    def check(values: Tensor) -> None:
        count = values.numel()
        assert values.abs().max() <= bound
        assert values.abs().max() >= bound * 1e-8 ** (1 / count)  # once in 10^8 by chance
        if count > 1:
            assert values.std().item() == pytest.approx(bound / math.sqrt(3), rel=2.7 / count**0.5)  # 6 sigma

    return check


def xavier(fan_in: int, fan_out: int) -> Callable[[Tensor], None]:
    return uniform(math.sqrt(6 / (fan_in + fan_out)))


def c2_xavier(fan_in: int) -> Callable[[Tensor], None]:
    """Caffe2's XavierFill, in PyTorch ``kaiming_uniform_(a=1)``: depends on the fan-in only."""
    return uniform(math.sqrt(3 / fan_in))


def torch_default(fan_in: int) -> Callable[[Tensor], None]:
    return uniform(1 / math.sqrt(fan_in))


def constant(value: float) -> Callable[[Tensor], None]:
    return lambda values: torch.testing.assert_close(values, torch.full_like(values, value))


def standard_normal(values: Tensor) -> None:
    assert abs(values.mean()) < 5 / math.sqrt(values.numel())
    assert values.std().item() == pytest.approx(1, abs=5 / math.sqrt(2 * values.numel()))
    assert values.abs().max() > 1.5  # a uniform distribution of that deviation ends at 1.73


def grid(values: Tensor) -> None:
    assert values.abs().max() == 4  # the fourth point of a head, four cells away


PIXEL_RULES: dict[str, Callable[[Tensor], None]] = {
    **{rf"input_projections\.{i}\.0\.weight": xavier(c, DIM) for i, c in enumerate(CHANNELS[:0:-1])},
    r"input_projections\.\d\.0\.bias": constant(0),
    r"level_embed": standard_normal,
    r"layers\.\d\.attention\.offsets\.weight": constant(0),
    r"layers\.\d\.attention\.offsets\.bias": grid,
    r"layers\.\d\.attention\.weights\.(weight|bias)": constant(0),
    r"layers\.\d\.attention\.(value|out)\.weight": xavier(DIM, DIM),
    r"layers\.\d\.attention\.(value|out)\.bias": constant(0),
    r"layers\.\d\.feed_forward\.linear\d\.weight": xavier(DIM, HIDDEN),
    r"layers\.\d\.feed_forward\.linear1\.bias": torch_default(DIM),
    r"layers\.\d\.feed_forward\.linear2\.bias": torch_default(HIDDEN),
    r"laterals\.0\.0\.weight": c2_xavier(CHANNELS[0]),
    r"outputs\.0\.0\.weight": c2_xavier(9 * DIM),
    r"mask_features\.weight": c2_xavier(DIM),
    r"mask_features\.bias": constant(0),
    r"(.*\.norm|(input_projections|laterals|outputs)\.\d\.1)\.weight": constant(1),
    r"(.*\.norm|(input_projections|laterals|outputs)\.\d\.1)\.bias": constant(0),
}

QUERY_RULES: dict[str, Callable[[Tensor], None]] = {
    r"(query_features|query_positions|level_embed)\.weight": standard_normal,
    # nn.MultiheadAttention stores q, k and v in one matrix, (3 d, d), and Mask2Former resets it as one.
    r"layers\.\d\.(cross|self_attention)\.[qkv]\.weight": xavier(DIM, 3 * DIM),
    r"layers\.\d\.(cross|self_attention)\.out\.weight": xavier(DIM, DIM),
    r"layers\.\d\.(cross|self_attention)\.(q|k|v|out)\.bias": constant(0),
    r"layers\.\d\.feed_forward\.linear\d\.weight": xavier(DIM, HIDDEN),
    r"layers\.\d\.feed_forward\.linear1\.bias": torch_default(DIM),
    r"layers\.\d\.feed_forward\.linear2\.bias": torch_default(HIDDEN),
    r"mask_head\.\d\.(weight|bias)": torch_default(DIM),
    # The heads that replace the class head are initialized like it.
    r"(embed_head|iou_head)\.(weight|bias)": torch_default(DIM),
    # Keys and values of another width have separate matrices in nn.MultiheadAttention too.
    r"clip_attention\.attention\.[kv]\.weight": xavier(CLIP_DIM, DIM),
    r"clip_attention\.attention\.(q|out)\.weight": xavier(DIM, DIM),
    r"clip_attention\.attention\.(q|k|v|out)\.bias": constant(0),
    r"(.*norm)\.weight": constant(1),
    r"(.*norm)\.bias": constant(0),
}


def pixel_decoder() -> PixelDecoder:
    torch.manual_seed(0)
    return PixelDecoder(in_channels=CHANNELS, dim=DIM, mask_dim=DIM, layers=2, heads=8, points=4, hidden=HIDDEN)


def query_decoder() -> QueryDecoder:
    torch.manual_seed(0)
    return QueryDecoder(mask_dim=DIM, clip_dim=CLIP_DIM, dim=DIM, layers=2, heads=8, hidden=HIDDEN, queries=50)


PARAMETERS = [
    pytest.param(parameter.detach(), rules, id=f"{kind}.{name}")
    for kind, module, rules in (("pixel", pixel_decoder(), PIXEL_RULES), ("query", query_decoder(), QUERY_RULES))
    for name, parameter in module.named_parameters()
]


@pytest.mark.parametrize(("parameter", "rules"), PARAMETERS)
def test_every_parameter_is_initialized_as_published(parameter, rules, request) -> None:
    name = request.node.callspec.id.split(".", 1)[1]
    fitting = [check for pattern, check in rules.items() if re.fullmatch(pattern, name)]
    assert len(fitting) == 1, f"{name} needs one rule, has {len(fitting)}"
    fitting[0](parameter)


def test_a_narrow_fpn_is_initialized_like_the_other_convolutions() -> None:
    torch.manual_seed(0)
    decoder = PixelDecoder(in_channels=CHANNELS, dim=DIM, mask_dim=DIM, layers=1, heads=8, hidden=HIDDEN, fine_dim=32)
    assert isinstance(decoder.narrow, nn.Conv2d)
    c2_xavier(DIM)(decoder.narrow.weight.detach())
    assert decoder.narrow.bias is not None
    constant(0)(decoder.narrow.bias.detach())
    c2_xavier(32)(decoder.mask_features.weight.detach())


def peer() -> Mask2FormerForUniversalSegmentation:
    torch.manual_seed(0)
    backbone = resnet(hidden_sizes=[8, 8, 8, 8], depths=[1, 1, 1, 1], embedding_size=8, layer_type="basic")
    sizes = {"hidden_dim": DIM, "feature_size": DIM, "mask_feature_size": DIM, "num_attention_heads": 8}
    config = Mask2FormerConfig(backbone_config=backbone, encoder_layers=1, decoder_layers=2, **sizes)
    return Mask2FormerForUniversalSegmentation(config)


def test_masked_attention_is_initialized_as_in_transformers() -> None:
    theirs = peer().model.transformer_module.decoder.layers[0].cross_attn
    ours = query_decoder().layers[0].cross
    stacked = torch.cat([layer.weight for layer in (ours.q, ours.k, ours.v)])
    assert stacked.std().item() == pytest.approx(theirs.in_proj_weight.std().item(), rel=0.03)
    assert ours.out.weight.std().item() == pytest.approx(theirs.out_proj.weight.std().item(), rel=0.04)


def test_deformable_attention_is_initialized_as_in_transformers() -> None:
    theirs = peer().model.pixel_level_module.decoder.encoder.layers[0].self_attn
    torch.testing.assert_close(pixel_decoder().layers[0].attention.offsets.bias, theirs.sampling_offsets.bias)


def test_clip_attention_has_separate_matrices_as_in_pytorch() -> None:
    torch.manual_seed(0)
    layer = ClipAttention(dim=DIM, clip_dim=CLIP_DIM, heads=8, masked=False).attention
    theirs = nn.MultiheadAttention(DIM, 8, kdim=CLIP_DIM, vdim=CLIP_DIM)
    for ours, reference in ((layer.q, theirs.q_proj_weight), (layer.k, theirs.k_proj_weight)):
        assert ours.weight.std().item() == pytest.approx(reference.std().item(), rel=0.05)
