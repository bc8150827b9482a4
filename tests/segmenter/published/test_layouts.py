"""Converted weights: our decoders equal transformers', with random weights in the published layout."""

from __future__ import annotations

import pytest
import torch
from mask2former_peer import in_detectron2s_layout, random_peer, swin
from torch import Tensor
from transformers import Mask2FormerForUniversalSegmentation

from opsnet.segmenter.pixel_decoder import PixelDecoder, PixelFeatures
from opsnet.segmenter.published.layouts import CLASS_HEAD, Converted, convert
from opsnet.segmenter.published.weight_files import WeightsError
from opsnet.segmenter.query_decoder import QueryDecoder
from opsnet.structures import Proposals

CHANNELS = (16, 32, 64, 128)  # of strides 4 to 32
DIM, HEADS, QUERIES, LAYERS = 256, 8, 11, 5


def small_peer(seed: int) -> Mask2FormerForUniversalSegmentation:
    """Decoders of the published width (eight channels per group of a norm) on a tiny Swin."""
    return random_peer(
        swin(embed_dim=16, depths=[1, 1, 1, 1], num_heads=[1, 2, 4, 8]),
        seed=seed,
        feature_size=DIM,
        mask_feature_size=DIM,
        hidden_dim=DIM,
        encoder_feedforward_dim=96,
        dim_feedforward=80,
        encoder_layers=3,
        decoder_layers=LAYERS + 1,
        num_attention_heads=HEADS,
        num_queries=QUERIES,
    )


def ours(converted: Converted) -> tuple[PixelDecoder, QueryDecoder]:
    """Our decoders with the converted weights; only OPSNet's own heads may be missing."""
    pixel = PixelDecoder(in_channels=CHANNELS, dim=DIM, mask_dim=DIM, layers=3, heads=HEADS, hidden=96)
    query = QueryDecoder(
        mask_dim=DIM, clip_dim=7, dim=DIM, heads=HEADS, hidden=80, queries=QUERIES, layers=LAYERS, clip_attention=None
    )
    for prefix, module in (("pixel_decoder.", pixel), ("query_decoder.", query)):
        names = [name for name in converted.state if name.startswith(prefix) and not name.startswith(CLASS_HEAD)]
        state = {name.removeprefix(prefix): converted.state[name] for name in names}
        missing, unexpected = module.load_state_dict(state, strict=False)
        assert unexpected == []
        assert all(name.startswith(("embed_head.", "iou_head.")) for name in missing)
    return pixel.eval(), query.eval()


def both(
    seed: int, height: int, width: int
) -> tuple[PixelFeatures, Proposals, Tensor, tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Our and the peer's outputs for the same backbone maps of an image of ``height`` x ``width`` pixels."""
    peer = small_peer(seed)
    pixel, query = ours(convert(peer.state_dict()))
    torch.manual_seed(seed)
    maps = [torch.randn(2, c, -(-height // s), -(-width // s)) for c, s in zip(CHANNELS, (4, 8, 16, 32), strict=True)]
    with torch.no_grad():
        features = pixel(maps)
        proposals = query(features, torch.zeros(2, 7, 2, 2), return_intermediate=True)
        theirs = peer.model.pixel_level_module.decoder(tuple(maps))
        decoded = peer.model.transformer_module(list(theirs.multi_scale_features), theirs.mask_features)
    return features, proposals, theirs.mask_features, theirs.multi_scale_features, decoded.masks_queries_logits


@pytest.mark.parametrize(("seed", "height", "width"), [(0, 64, 96), (1, 100, 76)])
def test_decoders_equal_the_peers(seed: int, height: int, width: int) -> None:
    features, proposals, pixels, memory, masks = both(seed, height, width)
    torch.testing.assert_close(features.pixels, pixels, rtol=1e-4, atol=1e-4)
    for ours_, theirs in zip(features.memory, memory, strict=True):
        torch.testing.assert_close(ours_, theirs, rtol=1e-4, atol=1e-4)
    found = proposals.supervision.mask_logits()
    assert len(found) == len(masks) == LAYERS + 1
    for layer, (a, b) in enumerate(zip(found, masks, strict=True)):
        assert (a - b).abs().max() <= 1e-4 * max(1.0, float(b.abs().max())), layer
    assert masks[-1].std() > 0.1  # not all the same, which would hide a difference


def test_tensors_without_a_counterpart_are_listed() -> None:
    state = small_peer(0).state_dict()
    converted = convert(state)
    assert "criterion.empty_weight" in converted.unused
    assert converted.unknown == ()
    unused = ("criterion.", "model.pixel_level_module.encoder.swin.layernorm.")
    assert all(name.startswith(unused) for name in converted.unused)
    whole = sum(t.numel() for n, t in state.items() if n not in converted.unused)
    assert sum(t.numel() for t in converted.state.values()) == whole


def test_a_model_without_its_head_has_the_same_names() -> None:
    state = small_peer(0).state_dict()
    bare = {name.removeprefix("model."): tensor for name, tensor in state.items() if name.startswith("model.")}
    head = {"query_decoder.class_head.weight", "query_decoder.class_head.bias"}
    assert convert(bare).state.keys() | head == convert(state).state.keys()


def test_a_foreign_state_dict_is_refused() -> None:
    with pytest.raises(WeightsError, match="no pixel or query decoder among the 1 tensors"):
        convert({"fc.weight": torch.zeros(2, 2)})


def test_detectron2s_layout_gives_the_same() -> None:
    state = small_peer(0).state_dict()
    ours_, theirs = convert(in_detectron2s_layout(state)), convert(state)
    assert ours_.state.keys() == theirs.state.keys()
    assert all(torch.equal(tensor, theirs.state[name]) for name, tensor in ours_.state.items())
    assert ours_.unknown == ()
