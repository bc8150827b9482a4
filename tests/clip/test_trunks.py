"""The stages of open_clip's image towers, one after the other, are the towers' own forward pass."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from openai_clip import small_clip
from torch import Tensor, nn

from opsnet.clip.loading import custom_clip
from opsnet.clip.tiny import tiny_clip
from opsnet.clip.trunks import ConvNeXtTrunk, ResNetTrunk, trunk_of

CONVNEXT = {
    "embed_dim": 24,
    "vision_cfg": {"timm_model_name": "test_convnext", "timm_pool": "", "timm_proj": "linear", "image_size": 64},
    "text_cfg": {"context_length": 16, "vocab_size": 100, "width": 16, "heads": 2, "layers": 1},
}


def convnext() -> Any:
    torch.manual_seed(0)
    visual = custom_clip(config=CONVNEXT).eval().visual
    for parameter in visual.parameters():  # layer scales of 1e-6 would make every stage nearly the identity
        nn.init.normal_(parameter, std=0.3)
    return visual


TOWERS = {"ResNet": lambda: small_clip().visual, "ConvNeXt": convnext, "tiny": lambda: tiny_clip().eval().visual}


def run(visual: Any, images: Tensor) -> list[Tensor]:
    maps: list[Tensor] = []
    for stage in trunk_of(visual).stages(visual):
        maps.append(stage(maps[-1] if maps else images))
    return maps


@torch.no_grad()
def test_the_stages_of_a_resnet_end_in_what_its_attention_pool_gets() -> None:
    visual, images, given = small_clip().visual, torch.randn(2, 3, 64, 64), []
    visual.attnpool.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
    visual(images)
    assert isinstance(trunk_of(visual), ResNetTrunk)
    assert torch.equal(run(visual, images)[-1], given[0])
    assert (given[0] > 0).any()


@torch.no_grad()
def test_the_stages_of_a_convnext_end_in_timms_features() -> None:
    visual, images = convnext(), torch.randn(2, 3, 96, 64)
    assert isinstance(trunk_of(visual), ConvNeXtTrunk)
    assert torch.equal(run(visual, images)[-1], visual.trunk.forward_features(images))


@torch.no_grad()
def test_the_norm_before_the_pool_belongs_to_the_last_stage() -> None:
    visual, images = convnext(), torch.randn(1, 3, 64, 64)
    before = run(visual, images)
    visual.trunk.norm_pre = nn.ReLU()  # the identity in CLIP's towers
    after = run(visual, images)
    assert all(torch.equal(a, b) for a, b in zip(before[:-1], after[:-1], strict=True))
    assert torch.equal(after[-1], before[-1].relu())
    assert not torch.equal(after[-1], before[-1])


@pytest.mark.parametrize(("tower", "strides"), [("ResNet", (2, 4, 8, 16, 32)), ("ConvNeXt", (4, 4, 8, 16, 32)),
                                                ("tiny", (2, 4, 8, 8, 8))])  # fmt: skip
@torch.no_grad()
def test_five_maps_with_the_channels_that_are_told(tower: str, strides: tuple[int, ...]) -> None:
    visual = TOWERS[tower]()
    maps = run(visual, torch.randn(1, 3, 64, 128))
    assert tuple(m.shape[1] for m in maps) == trunk_of(visual).channels(visual)
    assert [tuple(m.shape[-2:]) for m in maps] == [(64 // s, 128 // s) for s in strides]


@torch.no_grad()
def test_a_later_stage_does_not_write_into_an_earlier_map() -> None:
    for build in TOWERS.values():
        visual, copies, maps = build(), [], []
        x = torch.randn(1, 3, 64, 64)
        for stage in trunk_of(visual).stages(visual):
            x = stage(x)
            maps.append(x)
            copies.append(x.clone())
        assert all(torch.equal(a, b) for a, b in zip(maps, copies, strict=True))


def test_a_vit_is_refused() -> None:
    from open_clip.transformer import VisionTransformer

    vit = VisionTransformer(image_size=32, patch_size=16, width=16, layers=1, heads=2, mlp_ratio=2.0, output_dim=8)
    with pytest.raises(ValueError, match="VisionTransformer has neither an attention pool nor the stages"):
        trunk_of(vit)
    timm_vit = {**CONVNEXT, "vision_cfg": {**CONVNEXT["vision_cfg"], "timm_model_name": "test_vit"}}
    with pytest.raises(ValueError, match=r"clip=rn50 or clip=convnext_large_d_320"):
        trunk_of(custom_clip(config=timm_vit).visual)
