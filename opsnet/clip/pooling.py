"""From CLIP's last feature map to one CLIP embedding per proposal: three forms.

============== ================================================ ======================================================
name           what is kept of an image                         an embedding
============== ================================================ ======================================================
adapter        the map in the language space (Spatial Adapter)  its mean inside the mask (paper, section 3.2)
project_after  the trunk's map                                  the map's mean inside the mask, then CLIP's projection
                                                                (FC-CLIP with ConvNeXt)
attention      the trunk's map                                  CLIP's attention pool, limited to the mask
                                                                (FC-CLIP with ResNets)
============== ================================================ ======================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from opsnet.clip.mask_pooling import mask_pooling
from opsnet.clip.spatial_adapter import SpatialAdapter
from opsnet.ops.mask_average import mask_average


class Pooling(nn.Module):
    """Pools CLIP's last map into an embedding per proposal.

    Attributes:
        map_dim: channels of the map that :meth:`forward` returns.
        embed_dim: D, dimension of the embeddings.
    """

    map_dim: int
    embed_dim: int

    def forward(self, x: Tensor) -> Tensor:
        """The trunk's last map (B, C, h, w) -> the map that is kept of an image, (B, map_dim, h, w)."""
        return x

    def pool(self, clip_map: Tensor, mask_logits: Tensor) -> Tensor:
        """The kept map and mask logits (B, K, h', w') -> CLIP embeddings (B, K, D)."""
        raise NotImplementedError

    def is_lost(self, clip_map: Tensor, mask_logits: Tensor) -> Tensor:
        """Which masks have no part in :meth:`pool`, because they are too small for the map or empty: bool (B, K)."""
        return ~masks_on(clip_map, mask_logits).flatten(2).any(-1)


class AdapterPooling(Pooling):
    """Spatial Adapter, then Mask Pooling (paper, section 3.2).

    Raises:
        ValueError: the image tower has no attention pool.
    """

    def __init__(self, visual: Any) -> None:
        super().__init__()
        pool = _attention_pool(visual, "adapter")
        self.adapter = SpatialAdapter(value=pool.v_proj, output=pool.c_proj)
        self.map_dim = self.embed_dim = int(pool.c_proj.out_features)

    def forward(self, x: Tensor) -> Tensor:
        """See :class:`Pooling`."""
        return self.adapter(x)  # type: ignore[no-any-return]

    def pool(self, clip_map: Tensor, mask_logits: Tensor) -> Tensor:
        """See :class:`Pooling`; zeros for an empty mask."""
        return mask_pooling(clip_map, mask_logits)

    def is_lost(self, clip_map: Tensor, mask_logits: Tensor) -> Tensor:
        """See :class:`Pooling`."""
        return ~(mask_logits >= 0).flatten(2).any(-1)


class ProjectAfterPooling(Pooling):
    """The mean of the trunk's map inside the mask, then the norm and projection with which CLIP was trained.

    Exact where the projection is not linear (ConvNeXt-L has an MLP). Masks are resized bilinearly to the map and
    binarized, as FC-CLIP does. An empty mask has the embedding of a zero feature.

    Raises:
        ValueError: the image tower has no such projection.
    """

    def __init__(self, visual: Any) -> None:
        super().__init__()
        if not hasattr(visual, "trunk"):
            raise ValueError(f"clip.pooling=project_after needs a CLIP ConvNeXt, not {type(visual).__name__}")
        self.norm, self.projection = visual.trunk.head, visual.head
        self.map_dim = int(visual.trunk.stages[-1].blocks[-1].conv_dw.out_channels)
        self.embed_dim = _output_dim(visual.head)

    def pool(self, clip_map: Tensor, mask_logits: Tensor) -> Tensor:
        """See :class:`Pooling`."""
        inside = masks_on(clip_map, mask_logits)
        pooled = mask_average(clip_map, inside.to(clip_map.dtype))
        flat: Tensor = self.projection(self.norm(pooled.flatten(0, 1)[:, :, None, None]))
        return flat.unflatten(0, pooled.shape[:2])


class AttentionPooling(Pooling):
    """CLIP's attention pool with keys only inside the mask; the query is the mean of the whole map.

    The positional embedding is resized to the map. Masks are resized bilinearly to the map and binarized.

    Raises:
        ValueError: the image tower has no attention pool.
    """

    def __init__(self, visual: Any) -> None:
        super().__init__()
        self.attention = _attention_pool(visual, "attention")
        self.map_dim, self.embed_dim = int(self.attention.v_proj.in_features), int(self.attention.c_proj.out_features)

    def pool(self, clip_map: Tensor, mask_logits: Tensor) -> Tensor:
        """See :class:`Pooling`; zeros for an empty mask."""
        attention, inside = self.attention, masks_on(clip_map, mask_logits).flatten(2)  # (B, K, L)
        tokens = clip_map.flatten(2).transpose(1, 2)  # (B, L, C)
        first, places = self._positions(clip_map)
        query = attention.q_proj(tokens.mean(1, keepdim=True) + first)  # the same for all masks
        keyed = tokens + places
        q, k, v = (
            x.unflatten(-1, (attention.num_heads, -1)).transpose(1, 2)
            for x in (query, attention.k_proj(keyed), attention.v_proj(keyed))
        )
        scores = (q @ k.mT).squeeze(2) * k.shape[-1] ** -0.5  # (B, heads, L)
        empty = ~inside.any(-1, keepdim=True)
        allowed = (inside | empty)[:, None]  # (B, 1, K, L)
        weights = scores[:, :, None].masked_fill(~allowed, -torch.inf).softmax(-1)
        pooled = attention.c_proj((weights @ v).transpose(1, 2).flatten(2))
        return pooled.masked_fill(empty, 0.0)  # type: ignore[no-any-return]

    def _positions(self, clip_map: Tensor) -> tuple[Tensor, Tensor]:
        """Positional embeddings of the query, (C,), and of the map's places, (L, C)."""
        own = self.attention.positional_embedding.to(clip_map.dtype)
        side = round((len(own) - 1) ** 0.5)
        grid = own[1:].T.unflatten(1, (side, side))[None]
        size = (clip_map.shape[-2], clip_map.shape[-1])
        return own[0], F.interpolate(grid, size=size, mode="bilinear", align_corners=False)[0].flatten(1).T


POOLINGS: Mapping[str, type[Pooling]] = {
    "adapter": AdapterPooling,
    "project_after": ProjectAfterPooling,
    "attention": AttentionPooling,
}


def masks_on(clip_map: Tensor, mask_logits: Tensor) -> Tensor:
    """Binary masks on the grid of a map (B, C, h, w), from logits (B, K, h', w') resized bilinearly: bool (B, K, h, w).

    FC-CLIP's rule; a mask smaller than a cell of the map is empty.
    """
    size = (clip_map.shape[-2], clip_map.shape[-1])
    return F.interpolate(mask_logits, size=size, mode="bilinear", align_corners=False) > 0


def _attention_pool(visual: Any, name: str) -> Any:
    pool = getattr(visual, "attnpool", None)
    if pool is None:
        raise ValueError(f"clip.pooling={name} needs a CLIP ResNet with an attention pool, such as clip=rn50")
    return pool


def _output_dim(head: nn.Module) -> int:
    """Output dimension of the last linear layer."""
    widths = [m.out_features for m in head.modules() if isinstance(m, nn.Linear)]
    return int(widths[-1])
