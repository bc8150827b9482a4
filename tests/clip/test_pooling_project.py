"""Poolings that take a mean inside the mask: with a ConvNeXt's projection after it, and after the Spatial Adapter."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from openai_clip import small_clip
from torch import nn

from opsnet.clip.loading import custom_clip
from opsnet.clip.mask_pooling import mask_pooling
from opsnet.clip.pooling import AdapterPooling, ProjectAfterPooling


def convnext(projection: str) -> Any:
    torch.manual_seed(0)
    config = {
        "embed_dim": 24,
        "vision_cfg": {"timm_model_name": "test_convnext", "timm_pool": "", "timm_proj": projection, "image_size": 64},
        "text_cfg": {"context_length": 16, "vocab_size": 100, "width": 16, "heads": 2, "layers": 1},
    }
    visual = custom_clip(config=config).eval().visual
    for parameter in visual.parameters():
        nn.init.normal_(parameter, std=0.3)
    return visual


@torch.no_grad()
@pytest.mark.parametrize("projection", ["linear", "mlp"])
def test_a_mask_of_the_whole_image_is_clips_own_embedding(projection: str) -> None:
    visual, images = convnext(projection), torch.randn(2, 3, 64, 64)
    pooling = ProjectAfterPooling(visual)
    clip_map = pooling(visual.trunk.forward_features(images))
    found = pooling.pool(clip_map, torch.ones(2, 1, 16, 16))[:, 0]
    torch.testing.assert_close(found, visual(images), atol=1e-4, rtol=1e-4)
    assert found.shape[1] == pooling.embed_dim == 24
    assert clip_map.shape[1] == pooling.map_dim


@torch.no_grad()
@pytest.mark.parametrize("projection", ["linear", "mlp"])
def test_a_mask_projects_the_mean_of_its_cells(projection: str) -> None:
    visual = convnext(projection)
    pooling = ProjectAfterPooling(visual)
    clip_map = torch.randn(1, pooling.map_dim, 2, 3)
    logits = torch.full((1, 2, 8, 12), -4.0)
    logits[0, 0, :, :4], logits[0, 1, :4, 8:] = 4.0, 4.0  # the left column; the cell at the top right
    found = pooling.pool(clip_map, logits)
    for k, mean in enumerate((clip_map[0, :, :, 0].mean(-1), clip_map[0, :, 0, 2])):
        expected = visual.head(visual.trunk.head(mean[None, :, None, None]))[0]
        torch.testing.assert_close(found[0, k], expected, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_masks_are_resized_bilinearly_and_then_binarized() -> None:
    """A strong logit in a quarter of a cell outweighs three weak ones, as in FC-CLIP; coverage has no part."""
    pooling = ProjectAfterPooling(convnext("linear"))
    clip_map = torch.randn(1, pooling.map_dim, 1, 2)
    logits = torch.tensor([[[[9.0, -1.0, -1.0, -1.0], [-1.0, -1.0, -1.0, -1.0]]]])
    resized = F.interpolate(logits, size=(1, 2), mode="bilinear", align_corners=False)
    assert resized.flatten().tolist() == [1.5, -1.0]
    first = pooling.pool(clip_map[..., :1], torch.ones(1, 1, 1, 1))
    torch.testing.assert_close(pooling.pool(clip_map, logits), first, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_an_empty_mask_has_the_embedding_of_zeros() -> None:
    visual = convnext("mlp")
    pooling = ProjectAfterPooling(visual)
    found = pooling.pool(torch.randn(1, pooling.map_dim, 2, 2), torch.full((1, 1, 8, 8), -1.0))[0]
    zeros = torch.zeros(1, pooling.map_dim, 1, 1)
    torch.testing.assert_close(found, visual.head(visual.trunk.head(zeros)))
    assert found.any()


@torch.no_grad()
def test_the_adapter_keeps_the_map_in_the_language_space() -> None:
    visual = small_clip().visual
    pooling = AdapterPooling(visual)
    trunk_map = torch.randn(1, 256, 2, 3)
    clip_map = pooling(trunk_map)
    attention = visual.attnpool
    cell = attention.c_proj(attention.v_proj(trunk_map[0, :, 1, 2]))
    torch.testing.assert_close(clip_map[0, :, 1, 2], cell, atol=1e-5, rtol=1e-4)
    assert clip_map.shape == (1, pooling.map_dim, 2, 3)
    assert pooling.map_dim == pooling.embed_dim == 24
    logits = torch.randn(1, 5, 8, 12)
    assert torch.equal(pooling.pool(clip_map, logits), mask_pooling(clip_map, logits))


def test_another_tower_is_refused() -> None:
    with pytest.raises(ValueError, match=r"clip\.pooling=project_after needs a CLIP ConvNeXt, not ModifiedResNet"):
        ProjectAfterPooling(small_clip().visual)
    with pytest.raises(ValueError, match=r"clip\.pooling=adapter needs a CLIP ResNet with an attention pool"):
        AdapterPooling(convnext("linear"))
