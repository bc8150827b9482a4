"""Multi-scale deformable attention (Deformable DETR, section 4.1)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from opsnet.ops.deformable_sampling import deformable_sampling, sampling_locations


class DeformableAttention(nn.Module):
    """Each query attends to a few learned points around its reference point on every level.

    Args:
        dim: dimension of queries and values.
        levels: number of feature maps.
        heads: must divide ``dim``.
        points: number of points per head and level.
    """

    def __init__(self, *, dim: int, levels: int, heads: int = 8, points: int = 4) -> None:
        super().__init__()
        if dim % heads:
            raise ValueError(f"heads ({heads}) must divide the dimension ({dim})")
        self.levels, self.heads, self.points = levels, heads, points
        self.offsets = nn.Linear(dim, heads * levels * points * 2)
        self.weights = nn.Linear(dim, heads * levels * points)
        self.value, self.out = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self._reset()

    def _reset(self) -> None:
        """Initially the heads attend in different directions and their points at increasing distance."""
        angle = torch.arange(self.heads) * (2 * math.pi / self.heads)
        direction = torch.stack((angle.cos(), angle.sin()), dim=-1)
        direction = direction / direction.abs().amax(-1, keepdim=True)
        start = direction[:, None, None] * torch.arange(1, self.points + 1)[:, None].float()
        with torch.no_grad():
            self.offsets.weight.zero_()
            self.offsets.bias.copy_(start.expand(-1, self.levels, -1, -1).flatten())
            for layer in (self.weights.weight, self.weights.bias, self.value.bias, self.out.bias):
                layer.zero_()
        nn.init.xavier_uniform_(self.value.weight)
        nn.init.xavier_uniform_(self.out.weight)

    def forward(self, query: Tensor, reference: Tensor, memory: Tensor, shapes: list[tuple[int, int]]) -> Tensor:
        """Attends.

        Args:
            query: (B, Q, dim), with positions added.
            reference: (Q, 2), (x, y) in 0..1.
            memory: (B, L, dim), all levels concatenated.
            shapes: (h, w) of each level.

        Returns:
            (B, Q, dim).
        """
        value = self.value(memory).unflatten(-1, (self.heads, -1))
        offsets = self.offsets(query).unflatten(-1, (self.heads, self.levels, self.points, 2))
        weights = self.weights(query).unflatten(-1, (self.heads, -1)).softmax(-1)
        weights = weights.unflatten(-1, (self.levels, self.points))
        locations = sampling_locations(reference, offsets, shapes)
        return self.out(deformable_sampling(value, shapes, locations, weights))
