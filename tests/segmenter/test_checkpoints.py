"""Converted weights: our decoders give transformers' numbers, from random weights in the published layout."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation, SwinConfig

from opsnet.segmenter.checkpoints import Converted, WeightsError, convert_decoders
from opsnet.segmenter.pixel_decoder import PixelDecoder, PixelFeatures
from opsnet.segmenter.query_decoder import QueryDecoder
from opsnet.structures import Proposals

CHANNELS = (16, 32, 64, 128)  # of strides 4 to 32
DIM, HEADS, QUERIES, LAYERS = 256, 8, 11, 5


def random_peer(seed: int) -> Mask2FormerForUniversalSegmentation:
    """A small Mask2Former with every weight random, biases and norms too: zeros would hide a swapped name."""
    swin = SwinConfig(
        embed_dim=16, depths=[1, 1, 1, 1], num_heads=[1, 2, 4, 8], out_features=["stage1", "stage2", "stage3", "stage4"]
    )
    config = Mask2FormerConfig(
        backbone_config=swin,
        feature_size=DIM,
        mask_feature_size=DIM,
        hidden_dim=DIM,
        encoder_feedforward_dim=96,
        dim_feedforward=80,
        encoder_layers=3,
        decoder_layers=LAYERS + 1,
        num_attention_heads=HEADS,
        num_queries=QUERIES,
        dropout=0.0,
    )
    torch.manual_seed(seed)
    peer = Mask2FormerForUniversalSegmentation(config).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in peer.named_parameters():
            spread = 1.0 if "queries" in name or "level_embed" in name else 0.06
            centre = 1.0 if "norm" in name and name.endswith("weight") else 0.0
            parameter.copy_(centre + spread * torch.randn(parameter.shape, generator=generator))
    return peer


def ours(converted: Converted) -> tuple[PixelDecoder, QueryDecoder]:
    """Our decoders with the converted weights; only OPSNet's own heads may be missing."""
    pixel = PixelDecoder(in_channels=CHANNELS, dim=DIM, mask_dim=DIM, layers=3, heads=HEADS, hidden=96)
    query = QueryDecoder(
        mask_dim=DIM, clip_dim=7, dim=DIM, heads=HEADS, hidden=80, queries=QUERIES, layers=LAYERS, clip_attention=None
    )
    for prefix, module in (("pixel_decoder.", pixel), ("query_decoder.", query)):
        state = {k.removeprefix(prefix): v for k, v in converted.state.items() if k.startswith(prefix)}
        missing, unexpected = module.load_state_dict(state, strict=False)
        assert unexpected == []
        assert all(name.startswith(("embed_head.", "iou_head.")) for name in missing)
    return pixel.eval(), query.eval()


def both(
    seed: int, height: int, width: int
) -> tuple[PixelFeatures, Proposals, Tensor, tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Ours and the peer's outputs on the same backbone maps of a picture of ``height`` x ``width`` pixels."""
    peer = random_peer(seed)
    pixel, query = ours(convert_decoders(peer.state_dict()))
    torch.manual_seed(seed)
    maps = [torch.randn(2, c, -(-height // s), -(-width // s)) for c, s in zip(CHANNELS, (4, 8, 16, 32), strict=True)]
    with torch.no_grad():
        features = pixel(maps)
        proposals = query(features, torch.zeros(2, 7, 2, 2), every_layer=True)
        theirs = peer.model.pixel_level_module.decoder(tuple(maps))
        decoded = peer.model.transformer_module(list(theirs.multi_scale_features), theirs.mask_features)
    return features, proposals, theirs.mask_features, theirs.multi_scale_features, decoded.masks_queries_logits


@pytest.mark.parametrize(("seed", "height", "width"), [(0, 64, 96), (1, 100, 76)])
def test_decoders_equal_the_peers(seed: int, height: int, width: int) -> None:
    features, proposals, pixels, memory, masks = both(seed, height, width)
    torch.testing.assert_close(features.pixels, pixels, rtol=1e-4, atol=1e-4)
    for ours_, theirs in zip(features.memory, memory, strict=True):
        torch.testing.assert_close(ours_, theirs, rtol=1e-4, atol=1e-4)
    found = [p.mask_logits for p in (*proposals.intermediate, proposals)]
    assert len(found) == len(masks) == LAYERS + 1
    for layer, (a, b) in enumerate(zip(found, masks, strict=True)):
        assert (a - b).abs().max() <= 1e-4 * max(1.0, float(b.abs().max())), layer
    assert masks[-1].std() > 0.1  # not all the same, which would hide a difference


def test_what_has_no_counterpart_is_named() -> None:
    state = random_peer(0).state_dict()
    converted = convert_decoders(state)
    assert "class_predictor.weight" in converted.left
    assert all(
        name.startswith(("class_predictor.", "criterion.", "model.pixel_level_module.encoder."))
        for name in converted.left
    )
    whole = sum(t.numel() for n, t in state.items() if n not in converted.left)
    assert sum(t.numel() for t in converted.state.values()) == whole


def test_a_model_without_its_head_has_the_same_names() -> None:
    state = random_peer(0).state_dict()
    bare = {name.removeprefix("model."): tensor for name, tensor in state.items() if name.startswith("model.")}
    assert convert_decoders(bare).state.keys() == convert_decoders(state).state.keys()


def test_a_foreign_state_dict_is_refused() -> None:
    with pytest.raises(WeightsError, match="no pixel or query decoder among the 1 tensors"):
        convert_decoders({"fc.weight": torch.zeros(2, 2)})


# transformers' names -> detectron2's, in which the authors published their weights.
DETECTRON2 = (
    ("model.pixel_level_module.decoder.encoder.layers.", "sem_seg_head.pixel_decoder.transformer.encoder.layers."),
    ("model.pixel_level_module.decoder.level_embed", "sem_seg_head.pixel_decoder.transformer.level_embed"),
    ("model.pixel_level_module.decoder.input_projections.", "sem_seg_head.pixel_decoder.input_proj."),
    ("model.pixel_level_module.decoder.mask_projection.", "sem_seg_head.pixel_decoder.mask_features."),
    ("model.pixel_level_module.decoder.", "sem_seg_head.pixel_decoder."),
    ("model.transformer_module.queries_features.", "sem_seg_head.predictor.query_feat."),
    ("model.transformer_module.queries_embedder.", "sem_seg_head.predictor.query_embed."),
    ("model.transformer_module.level_embed.", "sem_seg_head.predictor.level_embed."),
    ("model.transformer_module.decoder.layernorm.", "sem_seg_head.predictor.decoder_norm."),
    ("model.transformer_module.decoder.mask_predictor.mask_embedder.", "sem_seg_head.predictor.mask_embed.layers."),
    ("class_predictor.", "sem_seg_head.predictor.class_embed."),
)


def in_detectron2s_layout(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same weights under detectron2's names."""
    found: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if name.startswith("model.transformer_module.decoder.layers."):
            number, rest = name.removeprefix("model.transformer_module.decoder.layers.").split(".", 1)
            for part, kind, inner in (("cross_attn", "cross", "multihead_attn"), ("self_attn", "self", "self_attn")):
                layer = f"sem_seg_head.predictor.transformer_{kind}_attention_layers.{number}."
                if rest.startswith(f"{part}_layer_norm."):
                    found[layer + rest.replace(f"{part}_layer_norm", "norm")] = tensor
                elif rest.startswith(f"{part}.q_proj."):
                    end = rest.rsplit(".", 1)[1]
                    three = [state[name.replace("q_proj", f"{letter}_proj")] for letter in "qkv"]
                    found[f"{layer}{inner}.in_proj_{end}"] = torch.cat(three)
                elif rest.startswith(f"{part}.") and not rest.startswith((f"{part}.k_proj", f"{part}.v_proj")):
                    found[layer + rest.replace(part, inner, 1)] = tensor
            for theirs, other in (("fc1", "linear1"), ("fc2", "linear2"), ("final_layer_norm", "norm")):
                if rest.startswith(f"{theirs}."):
                    layer = f"sem_seg_head.predictor.transformer_ffn_layers.{number}."
                    found[layer + rest.replace(theirs, other)] = tensor
            continue
        for start, other in DETECTRON2:
            if name.startswith(start):
                name = name.replace(start, other)
                break
        for old, new in (
            ("fc1", "linear1"),
            ("fc2", "linear2"),
            ("self_attn_layer_norm", "norm1"),
            ("final_layer_norm", "norm2"),
        ):
            name = name.replace(f".{old}.", f".{new}.")
        for kind in ("adapter_1", "layer_1"):
            name = name.replace(f"{kind}.0.", f"{kind}.").replace(f"{kind}.1.", f"{kind}.norm.")
        if "mask_embed.layers." in name:
            name = name.replace(".0.weight", ".weight").replace(".0.bias", ".bias")
        found[name] = tensor
    return found


def test_detectron2s_layout_gives_the_same() -> None:
    state = random_peer(0).state_dict()
    ours_, theirs = convert_decoders(in_detectron2s_layout(state)), convert_decoders(state)
    assert ours_.state.keys() == theirs.state.keys()
    assert all(torch.equal(tensor, theirs.state[name]) for name, tensor in ours_.state.items())
    assert "sem_seg_head.predictor.class_embed.weight" in ours_.left
