"""Small layers shared by the pixel decoder and the query decoder (Mask2Former, section 3)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from opsnet.ops.group_norm import group_norm
from opsnet.ops.inplace_relu import inplace_relu


def sine_positions(height: int, width: int, dim: int, device: torch.device) -> Tensor:
    """DETR's sine position encoding, normalised to 2 pi: (1, dim, height, width)."""
    half = dim // 2
    y = torch.arange(1, height + 1, device=device, dtype=torch.float32) / (height + 1e-6) * 2 * math.pi
    x = torch.arange(1, width + 1, device=device, dtype=torch.float32) / (width + 1e-6) * 2 * math.pi
    wavelengths = 10_000 ** (2 * (torch.arange(half, device=device) // 2) / half)

    def encode(position: Tensor) -> Tensor:  # (L,) -> (L, half): sine and cosine alternate
        phase = position[:, None] / wavelengths
        return torch.stack((phase[:, 0::2].sin(), phase[:, 1::2].cos()), dim=-1).flatten(1)

    rows = encode(y)[:, None].expand(height, width, half)
    columns = encode(x)[None].expand(height, width, half)
    return torch.cat((rows, columns), dim=-1).permute(2, 0, 1)[None]


class GroupNorm(nn.GroupNorm):
    """PyTorch's GroupNorm, exact on a CPU too, see :mod:`opsnet.ops.group_norm`."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C, h, w)."""
        return group_norm(x, self.num_groups, self.weight, self.bias, self.eps)


class Attention(nn.Module):
    """Multi-head attention with PyTorch's fused kernel.

    Args:
        dim: dimension of queries and output.
        heads: must divide ``dim``.
        memory_dim: dimension of keys and values, ``dim`` by default.
    """

    def __init__(self, *, dim: int, heads: int, memory_dim: int | None = None) -> None:
        super().__init__()
        if dim % heads:
            raise ValueError(f"heads ({heads}) must divide the dimension ({dim})")
        self.heads = heads
        self.q = nn.Linear(dim, dim)
        self.k = nn.Linear(memory_dim or dim, dim)
        self.v = nn.Linear(memory_dim or dim, dim)
        self.out = nn.Linear(dim, dim)
        self._reset()

    def _reset(self) -> None:
        """As PyTorch's MultiheadAttention, which stacks q, k and v in one matrix if all inputs have the same width."""
        stacked = math.sqrt(0.5) if self.k.in_features == self.q.in_features else 1.0  # sqrt(6 / 4d) of sqrt(6 / 2d)
        for layer in (self.q, self.k, self.v):
            nn.init.xavier_uniform_(layer.weight, gain=stacked)
        nn.init.xavier_uniform_(self.out.weight)
        for layer in (self.q, self.k, self.v, self.out):
            nn.init.zeros_(layer.bias)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, allowed: Tensor | None = None) -> Tensor:
        """Attends.

        Args:
            query: (B, Q, dim).
            key, value: (B, L, memory_dim).
            allowed: bool (B, Q, L), True where a query may attend; the same for all heads.
        """
        q, k, v = (
            layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for layer, x in ((self.q, query), (self.k, key), (self.v, value))
        )
        mask = None if allowed is None else allowed[:, None]
        x = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.out(x.transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    """Two linear layers with a residual connection and post-normalisation."""

    def __init__(self, *, dim: int, hidden: int) -> None:
        super().__init__()
        self.linear1, self.linear2, self.norm = nn.Linear(dim, hidden), nn.Linear(hidden, dim), nn.LayerNorm(dim)
        for layer in (self.linear1, self.linear2):
            nn.init.xavier_uniform_(layer.weight)

    def forward(self, x: Tensor) -> Tensor:
        """(..., dim) -> (..., dim)."""
        return self.norm(x + self.linear2(inplace_relu(self.linear1(x))))


class MLP(nn.Sequential):
    """Three linear layers with ReLU in between: Mask2Former's mask head."""

    def __init__(self, *, dim: int, output_dim: int) -> None:
        super().__init__(
            nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, output_dim)
        )  # fmt: skip
