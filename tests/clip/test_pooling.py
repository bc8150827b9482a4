"""CLIP embeddings of proposals: the attention pool limited to each mask, against PyTorch's own attention."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from open_clip.modified_resnet import ModifiedResNet
from torch import Tensor

from opsnet.clip.pooling import AttentionPooling, masks_on

HEADS, SIZE = 4, 96  # pixels of an image; the map has a place for 32


@pytest.fixture(scope="module")
def visual() -> ModifiedResNet:
    torch.manual_seed(0)
    return ModifiedResNet(layers=(1, 1, 1, 1), output_dim=24, heads=HEADS, image_size=SIZE, width=8).eval()


@pytest.fixture(scope="module")
def pooling(visual: ModifiedResNet) -> AttentionPooling:
    return AttentionPooling(visual)


def plain(pool: Any, clip_map: Tensor, mask_logits: Tensor) -> Tensor:
    """FC-CLIP's arithmetic: a query per proposal, and PyTorch's attention with a mask."""
    batch, _, height, width = clip_map.shape
    side = SIZE // 32
    places = pool.positional_embedding[1:].reshape(1, side, side, -1).permute(0, 3, 1, 2)
    places = F.interpolate(places, size=(height, width), mode="bilinear", align_corners=False)
    tokens = clip_map.flatten(2).permute(2, 0, 1)  # (L, B, C)
    keys = tokens + places.flatten(2).permute(2, 0, 1)
    query = tokens.mean(0, keepdim=True) + pool.positional_embedding[0]
    masks = F.interpolate(mask_logits, size=(height, width), mode="bilinear", align_corners=False).flatten(2)
    outside = (masks <= 0).repeat_interleave(HEADS, dim=0)  # (B * heads, K, L)
    pooled, _ = F.multi_head_attention_forward(
        query.expand(mask_logits.shape[1], batch, -1), keys, keys, keys.shape[-1], HEADS, None,
        torch.cat([pool.q_proj.bias, pool.k_proj.bias, pool.v_proj.bias]), None, None, False, 0.0,
        pool.c_proj.weight, pool.c_proj.bias, training=False, need_weights=False, attn_mask=outside,
        use_separate_proj_weight=True, q_proj_weight=pool.q_proj.weight, k_proj_weight=pool.k_proj.weight,
        v_proj_weight=pool.v_proj.weight,
    )  # fmt: skip
    return pooled.transpose(0, 1)


@torch.no_grad()
@pytest.mark.parametrize("size", [(3, 3), (5, 2), (4, 7)], ids=str)  # the pool's own, smaller and larger
def test_masked_attention_is_pytorchs(visual, pooling, size: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(1)
    clip_map = torch.randn(2, pooling.map_dim, *size, generator=generator)
    mask_logits = torch.randn(2, 6, 4 * size[0], 4 * size[1], generator=generator)
    mask_logits[:, 0] = 1.0  # the whole image
    found, expected = pooling.pool(clip_map, mask_logits), plain(visual.attnpool, clip_map, mask_logits)
    assert masks_on(clip_map, mask_logits).flatten(2).any(-1).all()  # none is empty
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert (found[:, 1:] - found[:, :1]).norm(dim=-1).min() > 0.01 * found.norm(dim=-1).mean()  # limited by the mask


@torch.no_grad()
def test_an_empty_mask_has_zeros_and_leaves_the_others_alone(visual, pooling) -> None:
    clip_map = torch.randn(1, pooling.map_dim, 3, 4)
    mask_logits = torch.full((1, 3, 24, 32), -1.0)
    mask_logits[0, 0, :8, :8] = 1.0
    mask_logits[0, 1, 3, 3] = 1.0  # a pixel, which no place of the map has after resizing
    found = pooling.pool(clip_map, mask_logits)
    assert not found[0, 1:].any()
    torch.testing.assert_close(found[0, :1], plain(visual.attnpool, clip_map, mask_logits[:, :1])[0])


def test_the_sizes_are_the_pools(visual, pooling) -> None:
    assert (pooling.map_dim, pooling.embed_dim) == (256, 24)
    trunk_map = torch.randn(1, 256, 3, 3)
    assert pooling(trunk_map) is trunk_map  # the trunk's map is kept as it is


def test_an_image_tower_without_an_attention_pool() -> None:
    with pytest.raises(ValueError, match="clip.pooling=attention needs a CLIP ResNet with an attention pool"):
        AttentionPooling(torch.nn.Identity())
