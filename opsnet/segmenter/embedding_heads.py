"""The heads that give each query an embedding in CLIP's space: OPSNet's and FC-CLIP's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from opsnet.ops.mask_average import mask_average
from opsnet.segmenter.layers import MLP
from opsnet.structures import compute_mask_logits


class LinearHead(nn.Linear):
    """A linear layer on the query (OPSNet)."""

    def __init__(self, *, dim: int, mask_dim: int, clip_dim: int) -> None:
        super().__init__(dim, clip_dim)

    def forward(self, queries: Tensor, mask_embeds: Tensor, pixels: Tensor) -> Tensor:  # type: ignore[override]
        """Queries (B, K, dim) -> embeddings (B, K, D); the masks are not used."""
        return super().forward(queries)


class MaskPooledHead(nn.Module):
    """Mean of the pixel embeddings in the query's mask, projected and added to the query; then an MLP (FC-CLIP)."""

    def __init__(self, *, dim: int, mask_dim: int, clip_dim: int) -> None:
        super().__init__()
        self.project = nn.Sequential(nn.LayerNorm(mask_dim), nn.Linear(mask_dim, dim))
        self.mlp = MLP(dim=dim, output_dim=clip_dim)

    def forward(self, queries: Tensor, mask_embeds: Tensor, pixels: Tensor) -> Tensor:
        """Queries (B, K, dim), mask embeddings (B, K, C), pixel embeddings (B, C, h, w) -> embeddings (B, K, D).

        The masks, inside where their logit is above 0, have no gradient.
        """
        with torch.no_grad():
            inside = (compute_mask_logits(mask_embeds, pixels) > 0).to(pixels.dtype)
        return self.mlp(self._pool(pixels, inside) + queries)  # type: ignore[no-any-return]

    def of_masks(self, pixels: Tensor, inside: Tensor) -> Tensor:
        """Embeddings (B, K, D) of masks without a query, (B, K, h, w) bool, from pixel embeddings (B, C, h, w)."""
        return self.mlp(self._pool(pixels, inside.to(pixels.dtype)))  # type: ignore[no-any-return]

    def _pool(self, pixels: Tensor, inside: Tensor) -> Tensor:
        return self.project(mask_average(pixels, inside))  # type: ignore[no-any-return]


EMBEDDING_HEADS: Mapping[str, Any] = {"linear": LinearHead, "mask_pooled": MaskPooledHead}
