"""Query decoder: masked attention; each query predicts a mask, an embedding in CLIP's space and an IoU.

Mask2Former (section 3.2) without its class head; the embedding head, the IoU head (section 3.4) and the cross-attention
to CLIP's features (section 3.2) are OPSNet's.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from opsnet.ops.attention_masks import attention_masks, resize_pixels
from opsnet.segmenter.embedding_heads import EMBEDDING_HEADS
from opsnet.segmenter.layers import MLP, Attention, FeedForward, sine_positions
from opsnet.segmenter.pixel_decoder import PixelFeatures
from opsnet.structures import DeepSupervision, LayerQueries, Proposals, compute_mask_logits


class DecoderLayer(nn.Module):
    """Masked cross-attention, self-attention and feed-forward, each with a residual and post-normalisation."""

    def __init__(self, *, dim: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.cross, self.self_attention = Attention(dim=dim, heads=heads), Attention(dim=dim, heads=heads)
        self.cross_norm, self.self_norm = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.feed_forward = FeedForward(dim=dim, hidden=hidden)

    def forward(self, x: Tensor, positions: Tensor, keys: Tensor, values: Tensor, allowed: Tensor) -> Tensor:
        """Queries (B, K, dim), memory (B, L, dim), allowed (B, K, L) -> queries (B, K, dim)."""
        x = self.cross_norm(x + self.cross(x + positions, keys, values, allowed))
        x = self.self_norm(x + self.self_attention(x + positions, x + positions, x))
        return self.feed_forward(x)


class ClipAttention(nn.Module):
    """Cross-attention of the queries to CLIP's features (Table 1, row 6)."""

    def __init__(self, *, dim: int, clip_dim: int, heads: int, masked: bool) -> None:
        super().__init__()
        self.attention = Attention(dim=dim, heads=heads, memory_dim=clip_dim)
        self.norm = nn.LayerNorm(dim)
        self.masked = masked

    def forward(self, x: Tensor, positions: Tensor, clip_map: Tensor, allowed: Tensor | None) -> Tensor:
        """Queries (B, K, dim), CLIP's map (B, clip_dim, h, w), allowed positions, bool (B, K, h * w) -> (B, K, dim)."""
        # Only the direction of CLIP's features is meaningful, not their scale.
        memory = F.normalize(clip_map, dim=1).flatten(2).transpose(1, 2)
        memory = memory * memory.shape[-1] ** 0.5
        return self.norm(x + self.attention(x + positions, memory, memory, allowed))


class QueryDecoder(nn.Module):
    """Learned queries -> class-agnostic proposals.

    Args:
        mask_dim: dimension of the pixel embeddings.
        clip_dim: D, dimension of CLIP's space.
        levels: number of memory maps; the layers attend to them in turn, coarsest first.
        dim, layers, heads, hidden, queries: sizes of the decoder.
        clip_attention: where the queries attend to CLIP's features: "head" (only for the embedding head), the index of
            a layer (before that layer), or ``None`` (nowhere). The paper does not specify it.
        clip_attention_masked: whether each query attends only inside its own mask.
        clip_map_dim: channels of CLIP's map; ``None``: D.
        embed_head: "linear" (OPSNet) or "mask_pooled" (FC-CLIP), see :mod:`opsnet.segmenter.embedding_heads`.
        iou_head: whether the IoU of each mask is predicted (section 3.4). Without it, as in FC-CLIP, the mean
            probability of the pixels inside a mask takes its place.
        classes: classes of a published Mask2Former's class head, see :meth:`add_class_head`; 0: none.

    Raises:
        ValueError: ``clip_attention`` or ``embed_head`` is unknown.
    """

    def __init__(
        self, *, mask_dim: int, clip_dim: int, levels: int = 3, dim: int = 256, layers: int = 9, heads: int = 8,
        hidden: int = 2048, queries: int = 100, clip_attention: str | int | None = "head",
        clip_attention_masked: bool = True, clip_map_dim: int | None = None, embed_head: str = "linear",
        iou_head: bool = True, classes: int = 0,
    ) -> None:  # fmt: skip
        super().__init__()
        # True equals 1 in Python, but "true" in yaml does not mean the second layer.
        if isinstance(clip_attention, bool) or clip_attention not in ("head", None, *range(layers)):
            raise ValueError(f"clip_attention must be 'head', null or a layer 0..{layers - 1}, got {clip_attention!r}")
        if embed_head not in EMBEDDING_HEADS:
            raise ValueError(f"embed_head must be one of {', '.join(EMBEDDING_HEADS)}, got {embed_head!r}")
        self.levels = levels
        self.query_features, self.query_positions = nn.Embedding(queries, dim), nn.Embedding(queries, dim)
        self.level_embed = nn.Embedding(levels, dim)
        self.layers = nn.ModuleList(DecoderLayer(dim=dim, heads=heads, hidden=hidden) for _ in range(layers))
        self.norm = nn.LayerNorm(dim)
        self.mask_head = MLP(dim=dim, output_dim=mask_dim)
        self.embed_head: nn.Module = EMBEDDING_HEADS[embed_head](dim=dim, mask_dim=mask_dim, clip_dim=clip_dim)
        self.iou_head = nn.Linear(dim, 1) if iou_head else None
        self.class_head: nn.Linear | None = None
        if classes:
            self.add_class_head(classes)
        self.clip_at = clip_attention
        self.clip_attention = (
            None
            if clip_attention is None
            else ClipAttention(dim=dim, clip_dim=clip_map_dim or clip_dim, heads=heads, masked=clip_attention_masked)
        )

    def add_class_head(self, classes: int) -> None:
        """Adds the class head of a published Mask2Former, whose last class is no-object.

        Its class scores are not used. One minus its no-object score replaces the predicted IoU, since the IoU head is
        not trained.
        """
        self.class_head = nn.Linear(self.norm.normalized_shape[0], classes + 1).requires_grad_(False)

    def forward(
        self, features: PixelFeatures, clip_map: Tensor | None, *, return_intermediate: bool | None = None
    ) -> Proposals:
        """Pixel features and CLIP's map (B, clip_map_dim, h, w) -> proposals.

        Args:
            features: of the pixel decoder.
            clip_map: of the image encoder; only ``clip_attention`` reads it.
            return_intermediate: predict after every layer (``Proposals.supervision``); by default in training mode.
        """
        return_intermediate = self.training if return_intermediate is None else return_intermediate
        batch = features.pixels.shape[0]
        memory = [self._memory(m, i) for i, m in enumerate(features.memory)]
        resized = [resize_pixels(features.pixels, m) for m in features.memory]
        x = self.query_features.weight.expand(batch, -1, -1)
        positions = self.query_positions.weight.expand(batch, -1, -1)
        masked = self.clip_attention is not None and self.clip_attention.masked
        clip_pixels = resize_pixels(features.pixels, clip_map) if masked and clip_map is not None else None
        shared = (positions, features.pixels, clip_map, clip_pixels)
        predictions = []
        for i, layer in enumerate(self.layers):
            normed = self.norm(x)
            masks = self.mask_head(normed)
            if return_intermediate:
                predictions.append(self._predict(normed, masks, *shared))
            if self.clip_at == i:
                x = self._gather_clip(x, masks, positions, clip_map, clip_pixels)
            level = i % self.levels
            x = layer(x, positions, *memory[level], attention_masks(masks, resized[level]))
        normed = self.norm(x)
        last = self._predict(normed, self.mask_head(normed), *shared)
        supervision = DeepSupervision((*predictions, last), features.pixels) if return_intermediate else None
        mask_logits = compute_mask_logits(last.mask_embeds, features.pixels)
        has_quality = self.iou_head is not None or self.class_head is not None
        iou = last.iou if has_quality else mask_confidence(mask_logits)
        return Proposals(mask_logits, last.query_embeds, iou, supervision)

    def _memory(self, m: Tensor, level: int) -> tuple[Tensor, Tensor]:
        """Keys, with positions, and values, both (B, L, dim)."""
        values = m.flatten(2).transpose(1, 2) + self.level_embed.weight[level]
        positions = sine_positions(m.shape[-2], m.shape[-1], m.shape[1], m.device)
        return values + positions.flatten(2).transpose(1, 2), values

    def _predict(
        self, x: Tensor, masks: Tensor, positions: Tensor, pixels: Tensor, clip_map: Tensor | None,
        clip_pixels: Tensor | None,
    ) -> LayerQueries:  # fmt: skip
        described = self._gather_clip(x, masks, positions, clip_map, clip_pixels) if self.clip_at == "head" else x
        embeds = self.embed_head(described, masks, pixels)
        return LayerQueries(mask_embeds=masks, query_embeds=embeds, iou=self._quality(x))

    def _quality(self, x: Tensor) -> Tensor:
        if self.class_head is not None:
            return 1 - self.class_head(x).softmax(-1)[..., -1]
        if self.iou_head is not None:
            return self.iou_head(x).squeeze(-1).sigmoid()  # type: ignore[no-any-return]
        return x.new_zeros(x.shape[:-1])

    def _gather_clip(
        self, x: Tensor, masks: Tensor, positions: Tensor, clip_map: Tensor | None, clip_pixels: Tensor | None
    ) -> Tensor:
        assert self.clip_attention is not None and clip_map is not None
        allowed = None if clip_pixels is None else attention_masks(masks, clip_pixels)
        return self.clip_attention(x, positions, clip_map, allowed)


@torch.no_grad()
def mask_confidence(mask_logits: Tensor) -> Tensor:
    """The mean probability of the pixels inside each mask, (B, K, h, w) logits -> (B, K); 0 for an empty mask.

    Mask2Former's and FC-CLIP's measure of a mask's quality in instance segmentation.
    """
    inside = mask_logits > 0
    total = (mask_logits.sigmoid() * inside).sum((-2, -1))
    return total / inside.sum((-2, -1)).clamp(min=1)
