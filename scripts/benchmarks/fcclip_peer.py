"""FC-CLIP written plainly: the arithmetic of its paper and published code, step by step, without this project's ways.

The trunk is open_clip's in PyTorch's default memory format; both decoders are transformers', whose deformable attention
is pure PyTorch; every query is classified after every layer. Weights are shared with an OPSNet of the same sizes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from opsnet.model import OPSNet
from opsnet.segmenter.published.layouts import CLASS_HEAD, convert

SEEN, UNSEEN = 0.4, 0.8  # FC-CLIP's exponents


def decoders(channels: Sequence[int], queries: int, seed: int = 0) -> Any:
    """transformers' Mask2Former with random weights for maps of ``channels``; its small backbone is not used."""
    from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation, ResNetConfig

    torch.manual_seed(seed)
    stages = [f"stage{i}" for i in (1, 2, 3, 4)]
    backbone = ResNetConfig(hidden_sizes=list(channels), depths=[1, 1, 1, 1], out_features=stages)
    config = Mask2FormerConfig(backbone_config=backbone, num_queries=queries)
    return Mask2FormerForUniversalSegmentation(config).eval()


class PlainFcClip(nn.Module):
    """FC-CLIP on a ConvNeXt or ResNet; gives ``ours`` its decoders' weights and takes the heads and CLIP from it."""

    def __init__(self, ours: OPSNet, visual: nn.Module, names: Tensor, seen: Tensor) -> None:
        super().__init__()
        peer = decoders(ours.backbone.channels, ours.query_decoder.query_features.num_embeddings)
        state = convert(peer.state_dict()).state
        used = {k: v for k, v in state.items() if not k.startswith(("backbone.", CLASS_HEAD))}
        if unknown := ours.load_state_dict(used, strict=False).unexpected_keys:
            raise ValueError(f"transformers' Mask2Former has weights that this project does not have: {unknown}")
        self.pixel_decoder, self.query_decoder = peer.model.pixel_level_module.decoder, peer.model.transformer_module
        self.visual = visual
        self.head: Any = ours.query_decoder.embed_head
        self.query_scale, self.clip_scale = float(torch.as_tensor(ours.query_scale()).detach()), ours.clip_scale()
        self.names, self.seen = names, seen
        clip = ours.clip.image_encoder
        self.mean, self.std = clip.mean, clip.std

    def trunk(self, images: Tensor) -> list[Tensor]:
        """The maps of the four stages, finest first; the last one is CLIP's map."""
        visual: Any = self.visual
        x = (images - self.mean) / self.std
        if hasattr(visual, "trunk"):
            x, stages = visual.trunk.stem(x), list(visual.trunk.stages)
        else:
            for i in (1, 2, 3):
                x = getattr(visual, f"act{i}")(getattr(visual, f"bn{i}")(getattr(visual, f"conv{i}")(x)))
            x, stages = visual.avgpool(x), [visual.layer1, visual.layer2, visual.layer3, visual.layer4]
        maps = []
        for stage in stages:
            x = stage(x)
            maps.append(x.contiguous())
        return maps

    def queries(self, features: Any) -> tuple[Tensor, Tensor]:
        """Mask logits (B, K, h, w) and logits of names and no-object (B, K, M + 1) of the last prediction of ten."""
        output = self.query_decoder(list(features.multi_scale_features), features.mask_features)
        layers = zip(output.intermediate_hidden_states, output.masks_queries_logits, strict=True)
        logits = [self._classify(queries.transpose(0, 1), masks, features.mask_features) for queries, masks in layers]
        return output.masks_queries_logits[-1], logits[-1]

    def _classify(self, queries: Tensor, masks: Tensor, pixels: Tensor) -> Tensor:
        embeds = self.head.mlp(self.head.project(mean_inside(pixels, masks)) + queries)
        return self.query_scale * F.normalize(embeds, dim=-1) @ self.names.T

    def recognize(self, clip_map: Tensor, masks: Tensor, logits: Tensor) -> Tensor:
        """Log-probabilities of names and no-object, (B, K, M + 1): the geometric ensemble of both classifiers."""
        masks = F.interpolate(masks, size=clip_map.shape[-2:], mode="bilinear", align_corners=False)
        clip = self.clip_scale * F.normalize(self._pool(clip_map, masks), dim=-1) @ self.names[:-1].T
        trained, clip = logits[..., :-1].softmax(-1), clip.softmax(-1)
        valid = ((masks > 0).to(masks).sum((-2, -1)) > 0)[..., None]
        seen, unseen = SEEN * valid, UNSEEN * valid
        both = (trained ** (1 - seen) * clip**seen).log() * self.seen
        both = both + (trained ** (1 - unseen) * clip**unseen).log() * ~self.seen
        no_object = logits.softmax(-1)[..., -1:]
        return torch.cat((both.softmax(-1) * (1 - no_object), no_object), dim=-1).add(1e-8).log()

    def _pool(self, clip_map: Tensor, masks: Tensor) -> Tensor:
        """CLIP embeddings (B, K, D)."""
        visual: Any = self.visual
        if hasattr(visual, "trunk"):
            pooled = mean_inside(clip_map, masks)
            embeds: Tensor = visual.head(visual.trunk.head(pooled.flatten(0, 1)[..., None, None]))
            return embeds.unflatten(0, pooled.shape[:2])
        return masked_attention_pool(visual.attnpool, clip_map, masks)


def mean_inside(features: Tensor, masks: Tensor) -> Tensor:
    """Means of features (B, C, h, w) where the logits of masks (B, K, h, w) are above 0: (B, K, C)."""
    inside = (masks > 0).to(features.dtype)
    share = inside / (inside.sum((-2, -1), keepdim=True) + 1e-8)
    return torch.einsum("bchw, bkhw -> bkc", features, share)


def masked_attention_pool(pool: Any, clip_map: Tensor, masks: Tensor) -> Tensor:
    """CLIP's attention pool for every mask, by PyTorch's own multi-head attention."""
    channels, h, w = clip_map.shape[1:]
    place = pool.positional_embedding
    side = int((len(place) - 1) ** 0.5)
    grid = place[1:].T.reshape(1, channels, side, side)
    grid = F.interpolate(grid, size=(h, w), mode="bilinear", align_corners=False).flatten(2).permute(2, 0, 1)
    x = clip_map.flatten(2).permute(2, 0, 1)
    query = (x.mean(0, keepdim=True) + place[:1, None]).repeat_interleave(masks.shape[1], dim=0)
    outside = (masks <= 0).flatten(2)[:, None].expand(-1, pool.num_heads, -1, -1).flatten(0, 1)
    projections = (pool.q_proj, pool.k_proj, pool.v_proj)
    pooled, _ = F.multi_head_attention_forward(
        query, x + grid, x + grid, channels, pool.num_heads, None, torch.cat([p.bias for p in projections]), None, None,
        False, 0.0, pool.c_proj.weight, pool.c_proj.bias, training=False, need_weights=False, attn_mask=outside,
        use_separate_proj_weight=True, q_proj_weight=pool.q_proj.weight, k_proj_weight=pool.k_proj.weight,
        v_proj_weight=pool.v_proj.weight,
    )  # fmt: skip
    return pooled.transpose(0, 1)
