"""Query decoder: shapes, masked attention, and the outputs that depend on CLIP's map."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from opsnet.segmenter.pixel_decoder import PixelFeatures
from opsnet.segmenter.query_decoder import ClipAttention, QueryDecoder, mask_confidence
from opsnet.structures import Proposals

LAYERS = 3


def make_decoder(**options) -> QueryDecoder:
    torch.manual_seed(0)
    outside = {"mask_dim": 5, "clip_dim": 7, "levels": 2}
    inside = {"dim": 16, "layers": LAYERS, "heads": 2, "hidden": 8, "queries": 4}
    return QueryDecoder(**{**outside, **inside, **options}).eval()


def make_inputs() -> tuple[PixelFeatures, Tensor]:
    torch.manual_seed(1)
    memory = (torch.randn(2, 16, 2, 3), torch.randn(2, 16, 4, 6))
    return PixelFeatures(memory=memory, pixels=torch.randn(2, 5, 8, 12)), torch.randn(2, 7, 3, 4)


def run(decoder: QueryDecoder, features: PixelFeatures, clip_map: Tensor) -> Proposals:
    return decoder(features, clip_map, return_intermediate=True)


def all_layers(proposals: Proposals) -> list[Proposals]:
    """The predictions of every layer."""
    found = proposals.supervision
    return [Proposals(m, q.query_embeds, q.iou) for m, q in zip(found.mask_logits(), found.layers, strict=True)]


def test_shapes_of_every_layer() -> None:
    with torch.no_grad():
        proposals = run(make_decoder(), *make_inputs())
    layers = all_layers(proposals)
    assert len(layers) == LAYERS + 1  # the queries before the first layer, and every layer
    assert torch.equal(layers[-1].mask_logits, proposals.mask_logits)
    for layer in layers:
        assert layer.mask_logits.shape == (2, 4, 8, 12)
        assert layer.query_embeds.shape == (2, 4, 7)
        assert layer.iou.shape == (2, 4)
        assert ((layer.iou > 0) & (layer.iou < 1)).all()


def influence(clip_attention: str | int | None, **options) -> list[tuple[bool, bool, bool]]:
    """Whether each layer's masks, embeddings and IoU depend on CLIP's map."""
    decoder = make_decoder(clip_attention=clip_attention, **options)
    features, clip_map = make_inputs()
    with torch.no_grad():
        one, other = run(decoder, features, clip_map), run(decoder, features, torch.randn_like(clip_map))
    return [
        tuple(not torch.equal(getattr(a, name), getattr(b, name)) for name in ("mask_logits", "query_embeds", "iou"))
        for a, b in zip(all_layers(one), all_layers(other), strict=True)
    ]


@pytest.mark.parametrize("masked", [True, False])
def test_at_the_head_clip_affects_only_the_embedding(masked: bool) -> None:
    assert influence("head", clip_attention_masked=masked) == [(False, True, False)] * (LAYERS + 1)


def test_without_clip_attention_nothing_depends_on_clip() -> None:
    assert influence(None) == [(False, False, False)] * (LAYERS + 1)
    assert make_decoder(clip_attention=None).clip_attention is None


@pytest.mark.parametrize("at", range(LAYERS))
def test_before_a_layer_clip_affects_everything_after_it(at: int) -> None:
    expected = [(False, False, False)] * (at + 1) + [(True, True, True)] * (LAYERS - at)
    assert influence(at) == expected


@pytest.mark.parametrize("value", [-1, LAYERS, "tail", "0", 1.5, True])
def test_an_unknown_clip_attention_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=f"clip_attention must be 'head', null or a layer 0..2, got {value!r}"):
        make_decoder(clip_attention=value)


def test_the_scale_of_clips_features_does_not_matter() -> None:
    decoder, (features, clip_map) = make_decoder(), make_inputs()
    with torch.no_grad():
        one, other = decoder(features, clip_map), decoder(features, clip_map * 50)
    torch.testing.assert_close(one.query_embeds, other.query_embeds)


def test_clip_attention_stays_inside_the_mask() -> None:
    torch.manual_seed(0)
    attention = ClipAttention(dim=16, clip_dim=7, heads=2, masked=True)
    query, positions, clip_map = torch.randn(1, 1, 16), torch.zeros(1, 1, 16), torch.randn(1, 7, 2, 2)
    allowed = torch.tensor([True, False, False, False])[None, None]
    outside, inside = clip_map.clone(), clip_map.clone()
    outside[:, :, 1, 1] = torch.randn(7)
    inside[:, :, 0, 0] = torch.randn(7)
    with torch.no_grad():
        before = attention(query, positions, clip_map, allowed)
        assert torch.equal(before, attention(query, positions, outside, allowed))
        assert not torch.equal(before, attention(query, positions, inside, allowed))


@pytest.mark.parametrize("at", ["head", 1])
@pytest.mark.parametrize("masked", [True, False])
def test_only_masked_clip_attention_ignores_the_outside_of_the_masks(at: str | int, masked: bool) -> None:
    decoder, (features, clip_map) = make_decoder(clip_attention=at, clip_attention_masked=masked), make_inputs()
    with torch.no_grad():
        decoder.mask_head[-1].weight.zero_()
        decoder.mask_head[-1].bias.fill_(1.0)  # all masks are the left half
        left = (torch.arange(features.pixels.shape[-1]) < features.pixels.shape[-1] // 2).float()
        features = PixelFeatures(features.memory, (2 * left - 1).expand_as(features.pixels))
        other = clip_map.clone()
        other[..., -1] += torch.randn_like(other[..., -1])
        before, after = decoder(features, clip_map), decoder(features, other)
    assert torch.equal(before.query_embeds, after.query_embeds) == masked


def test_only_deep_supervision_predicts_after_every_layer() -> None:
    decoder, inputs = make_decoder(), make_inputs()
    with torch.no_grad():
        short, long = decoder(*inputs), run(decoder, *inputs)
        assert len(decoder.train()(*inputs).supervision.layers) == LAYERS + 1
    assert short.supervision is None
    for name in ("mask_logits", "query_embeds", "iou"):
        assert torch.equal(getattr(short, name), getattr(long, name))


def test_empty_masks_give_finite_outputs() -> None:
    decoder, (features, clip_map) = make_decoder(), make_inputs()
    with torch.no_grad():
        decoder.mask_head[-1].weight.zero_()
        decoder.mask_head[-1].bias.fill_(-1.0)
        proposals = decoder(PixelFeatures(features.memory, features.pixels.abs()), clip_map)
    assert (proposals.mask_logits < 0).all()
    assert proposals.query_embeds.isfinite().all()


def test_layers_use_the_memory_in_turn() -> None:
    """With one layer only the coarsest map is used, with two layers both."""
    for layers, read in ((1, [True, False]), (2, [True, True])):
        decoder, (features, clip_map) = make_decoder(layers=layers), make_inputs()
        for level, expected in enumerate(read):
            memory = list(features.memory)
            memory[level] = torch.randn_like(memory[level])
            with torch.no_grad():
                before = decoder(features, clip_map)
                after = decoder(PixelFeatures(tuple(memory), features.pixels), clip_map)
            assert (not torch.equal(before.iou, after.iou)) == expected


def test_images_of_a_batch_are_independent() -> None:
    decoder, (features, clip_map) = make_decoder(), make_inputs()
    alone = PixelFeatures(tuple(m[1:] for m in features.memory), features.pixels[1:])
    with torch.no_grad():
        together, single = decoder(features, clip_map), decoder(alone, clip_map[1:])
    torch.testing.assert_close(together.mask_logits[1:], single.mask_logits)
    torch.testing.assert_close(together.query_embeds[1:], single.query_embeds)


@pytest.mark.parametrize("at", ["head", 1, None])
def test_every_parameter_gets_a_gradient(at: str | int | None) -> None:
    decoder = make_decoder(clip_attention=at)
    proposals = run(decoder, *make_inputs())
    sum(x.mask_logits.sum() + x.query_embeds.square().sum() + x.iou.sum() for x in all_layers(proposals)).backward()
    assert [name for name, p in decoder.named_parameters() if p.grad is None] == []


# --- FC-CLIP's and Mask2Former's heads --------------------------------------------------------------------------------


def test_mask_confidence_by_hand() -> None:
    probabilities = torch.tensor([[[0.9, 0.7], [0.4, 0.1]], [[0.2, 0.1], [0.3, 0.5]]])
    found = mask_confidence(probabilities.logit()[None])
    assert found.shape == (1, 2)
    assert found[0].tolist() == pytest.approx([0.8, 0.0])  # 0.9 and 0.7 are inside; 0.5 is not, so that none is


def test_without_an_iou_head_the_mask_confidence_takes_its_place() -> None:
    decoder, inputs = make_decoder(iou_head=False), make_inputs()
    with torch.no_grad():
        short, long = decoder(*inputs), run(decoder, *inputs)
    assert not [name for name in decoder.state_dict() if name.startswith("iou_head")]
    assert torch.equal(short.iou, mask_confidence(short.mask_logits))
    assert torch.equal(short.iou, long.iou)
    assert ((short.iou == 0) | (short.iou > 0.5)).all()
    assert not short.iou.requires_grad
    with_head = make_decoder()(*inputs)
    assert not torch.equal(with_head.iou, mask_confidence(with_head.mask_logits))


def test_a_class_head_replaces_the_iou_by_one_minus_no_object() -> None:
    decoder, (features, clip_map) = make_decoder(classes=3), make_inputs()
    assert decoder.class_head is not None
    assert decoder.class_head.weight.shape == (4, 16)
    assert not decoder.class_head.weight.requires_grad
    with torch.no_grad():
        decoder.class_head.weight.zero_()
        decoder.class_head.bias.copy_(torch.tensor([1.0, 1.0, 1.0, 3.0]).log())  # no-object is half of the sum
        found = decoder(features, clip_map)
    torch.testing.assert_close(found.iou, torch.full((2, 4), 0.5))


def test_a_mask_pooled_head_reads_the_masks_of_its_own_layer() -> None:
    decoder, (features, clip_map) = make_decoder(embed_head="mask_pooled", clip_attention=None), make_inputs()
    with torch.no_grad():
        proposals = run(decoder, features, clip_map)
        for layer in proposals.supervision.layers:
            inside = (torch.einsum("bkc,bchw->bkhw", layer.mask_embeds, features.pixels) > 0).float()
            pooled = torch.einsum("bkhw,bchw->bkc", inside, features.pixels) / inside.sum((-2, -1))[..., None]
            pooled = pooled.nan_to_num(0)
            found = decoder.embed_head(torch.zeros(2, 4, 16), layer.mask_embeds, features.pixels)
            torch.testing.assert_close(found, decoder.embed_head.mlp(decoder.embed_head.project(pooled)))
    assert not torch.equal(proposals.supervision.layers[0].query_embeds, proposals.supervision.layers[1].query_embeds)


def test_an_unknown_embedding_head_is_refused() -> None:
    with pytest.raises(ValueError, match="embed_head must be one of linear, mask_pooled, got 'mlp'"):
        make_decoder(embed_head="mlp")
