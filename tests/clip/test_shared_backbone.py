"""CLIP's trunk as the backbone: one pass, no weights of its own, and CLIP's rules for padding and gradients."""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import pytest
import torch
from open_clip.tokenizer import SimpleTokenizer
from openai_clip import CONTEXT, small_clip
from torch import Tensor

from opsnet.clip.frozen_clip import FrozenClip
from opsnet.clip.shared_backbone import SharedClipBackbone
from opsnet.losses.distillation import QueryDistillation
from opsnet.model import OPSNet
from opsnet.ops.normalization import inside_images
from opsnet.segmenter.pixel_decoder import PixelDecoder
from opsnet.segmenter.query_decoder import QueryDecoder


def network(**options: Any) -> OPSNet:
    torch.manual_seed(0)
    clip = FrozenClip(model=small_clip(), tokenizer=SimpleTokenizer(context_length=CONTEXT), templates=["{}"])
    return OPSNet(
        backbone=SharedClipBackbone(**options),
        pixel_decoder=partial(PixelDecoder, dim=16, mask_dim=16, heads=2, points=2, layers=1, hidden=16),
        query_decoder=partial(QueryDecoder, mask_dim=16, dim=16, layers=3, heads=2, hidden=16, queries=5),
        clip=clip,
    )


@pytest.fixture
def model() -> OPSNet:
    return network().eval()


@pytest.fixture
def images() -> Tensor:
    return torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))


def passes(model: OPSNet) -> list[int]:
    """Grows by one for each pass of every stage of the trunk."""
    counted: list[int] = []
    for layer in ("conv1", "layer1", "layer2", "layer3", "layer4"):
        part = getattr(model.clip.image_encoder.visual, layer)
        part.register_forward_hook(lambda *_, layer=layer: counted.append(layer))
    return counted


def test_an_image_takes_one_pass_of_the_trunk(model, images) -> None:
    counted = passes(model)
    proposals, clip_map = model(images)
    model.embed(proposals, clip_map, (64, 96))
    assert counted == ["conv1", "layer1", "layer2", "layer3", "layer4"]


def test_the_maps_are_the_stages_and_the_clip_map_is_the_encoders(model, images) -> None:
    encoder, backbone = model.clip.image_encoder, model.backbone
    maps, clip_map = backbone.with_clip_map(images)
    stages, _ = encoder.pyramid(images)
    assert len(maps) == 4
    assert all(torch.equal(a, b) for a, b in zip(maps, stages[1:], strict=True))
    assert all(torch.equal(a, b) for a, b in zip(maps, backbone(images), strict=True))
    assert torch.equal(clip_map, encoder(images))
    assert backbone.channels == tuple(m.shape[1] for m in maps) == encoder.channels[1:]


def test_levels_choose_maps() -> None:
    backbone = network(levels=[0, 2, 4]).backbone
    maps = backbone(torch.rand(1, 3, 64, 64))
    assert [m.shape[-1] for m in maps] == [32, 8, 2]
    assert backbone.channels == tuple(m.shape[1] for m in maps)


@pytest.mark.parametrize("levels", [[], [5], [-1], [2, 1], [1, 1], [1.0, 2.0], [True, 2], "1234", 3, None])
def test_other_levels_are_refused(levels: Any) -> None:
    with pytest.raises(ValueError, match=r"backbone\.levels must be ascending numbers of 0\.\.4, got"):
        SharedClipBackbone(levels=levels)


def test_it_has_no_weights_of_its_own(model) -> None:
    assert not [name for name in model.state_dict() if name.startswith("backbone.")]
    assert list(model.backbone.parameters()) == []
    names = [name for name, _ in model.named_parameters()]
    assert len(names) == len(set(names))
    assert model.backbone.encoder is model.clip.image_encoder


def test_it_is_frozen_and_stays_in_evaluation_mode(model, images) -> None:
    before = {name: tensor.clone() for name, tensor in model.clip.state_dict().items()}
    model.train()
    maps, clip_map = model.backbone.with_clip_map(images)
    assert not clip_map.requires_grad
    assert not any(m.requires_grad for m in maps)
    assert torch.equal(maps[-1], model.eval().backbone(images)[-1])
    proposals, _ = model.train()(images)
    (proposals.mask_logits.sum() + proposals.query_embeds.sum()).backward()
    assert all(p.grad is None for p in model.clip.parameters())
    assert model.pixel_decoder.input_projections[0][0].weight.grad.any()
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.clip.state_dict().items())


@torch.no_grad()
def test_padding_is_zero_after_clips_normalisation(model, images) -> None:
    sizes = [(64, 96), (40, 50)]
    other = images.clone()
    other[1, :, 40:], other[1, :, :, 50:] = 0.3, 0.9  # whatever the padding holds
    found, clip_map = model.backbone.with_clip_map(images, inside_images(sizes, images))
    expected, expected_map = model.backbone.with_clip_map(other, inside_images(sizes, other))
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    assert torch.equal(clip_map, expected_map)
    assert torch.equal(model(images, sizes)[0].mask_logits, model(other, sizes)[0].mask_logits)
    assert not torch.equal(found[0], model.backbone(images)[0])  # the mask has an effect


@torch.no_grad()
def test_a_copy_keeps_to_its_own_clip(model, images) -> None:
    twin = copy.deepcopy(model)
    assert twin.backbone.encoder is twin.clip.image_encoder
    assert twin.backbone.encoder is not model.clip.image_encoder
    model.clip.image_encoder.visual.conv1.weight.zero_()
    assert not torch.equal(twin.backbone(images)[0], model.backbone(images)[0])


@torch.no_grad()
def test_distillation_copies_the_decoders_and_shares_the_trunk(model, images) -> None:
    loss = QueryDistillation(weight=1.0)
    loss.setup(model)
    assert loss.start.backbone.encoder is model.clip.image_encoder
    counted = passes(model)
    expected, clip_map = model(images)
    proposals = loss.start.propose(images, clip_map)
    assert counted.count("layer4") == 2
    assert torch.equal(proposals.mask_logits, expected.mask_logits)
    model.pixel_decoder.mask_features.weight.zero_()
    assert torch.equal(loss.start.propose(images, clip_map).mask_logits, expected.mask_logits)


def test_its_weights_move_with_the_model(model, images) -> None:
    model.double()
    assert model.backbone(images.double())[0].dtype == torch.float64
