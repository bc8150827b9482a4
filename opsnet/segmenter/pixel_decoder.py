"""Pixel decoder: a multi-scale deformable encoder for coarse maps and an FPN for fine ones (Mask2Former, 3.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from opsnet.ops.precision import full_precision
from opsnet.segmenter.deformable_attention import DeformableAttention
from opsnet.segmenter.layers import FeedForward, GroupNorm, sine_positions


@dataclass(frozen=True)
class PixelFeatures:
    """Input of the query decoder: ``memory`` maps (B, dim, h, w), coarsest first, and ``pixels`` (B, C, h, w)."""

    memory: tuple[Tensor, ...]
    pixels: Tensor


class EncoderLayer(nn.Module):
    """Deformable self-attention over all levels, then a feed-forward layer, both with post-normalisation."""

    def __init__(self, *, dim: int, levels: int, heads: int, points: int, hidden: int) -> None:
        super().__init__()
        self.attention = DeformableAttention(dim=dim, levels=levels, heads=heads, points=points)
        self.norm = nn.LayerNorm(dim)
        self.feed_forward = FeedForward(dim=dim, hidden=hidden)

    def forward(self, x: Tensor, positions: Tensor, reference: Tensor, shapes: list[tuple[int, int]]) -> Tensor:
        """Tokens (B, L, dim) -> (B, L, dim)."""
        x = self.norm(x + self.attention(x + positions, reference, x, shapes))
        return self.feed_forward(x)


class PixelDecoder(nn.Module):
    """Backbone maps -> memory for the queries, and pixel embeddings at the resolution of the finest map.

    Args:
        in_channels: channels of the backbone's maps, finest first.
        dim: dimension of tokens and FPN.
        mask_dim: dimension of pixel embeddings.
        encoder_levels: number of coarsest maps that pass through the encoder; finer maps are added in the FPN.
        layers, heads, points, hidden: sizes of the encoder.
        fine_dim: dimension of the FPN, ``dim`` by default. Its finest convolution costs most in a small decoder.
        checkpointing: recompute the encoder's activations in the backward pass instead of storing them.
        norm_groups: groups of the GroupNorms; ``None``: of eight channels each, as Mask2Former's 32 groups of 256.
        precision: "fp32" ignores autocast, as in Mask2Former; ``None`` follows it.

    Raises:
        ValueError: ``encoder_levels`` is out of range or the precision is unknown.
    """

    def __init__(
        self, *, in_channels: Sequence[int], dim: int = 256, mask_dim: int = 256, encoder_levels: int = 3,
        layers: int = 6, heads: int = 8, points: int = 4, hidden: int = 1024, fine_dim: int | None = None,
        checkpointing: bool = False, norm_groups: int | None = None, precision: str | None = "fp32",
    ) -> None:  # fmt: skip
        super().__init__()
        if precision not in (None, "fp32"):
            raise ValueError(f"model.pixel_decoder.precision must be fp32 or null (the trainer's), got '{precision}'")
        if not 0 < encoder_levels <= len(in_channels):
            raise ValueError(f"encoder_levels ({encoder_levels}) must be 1 to the backbone's {len(in_channels)} maps")
        self.encoder_levels, self.checkpointing, self.precision = encoder_levels, checkpointing, precision
        coarse, fine = in_channels[::-1][:encoder_levels], in_channels[::-1][encoder_levels:]
        self.input_projections = nn.ModuleList(_projection(c, dim, groups=norm_groups) for c in coarse)
        self.level_embed = nn.Parameter(torch.randn(encoder_levels, dim))
        self.layers = nn.ModuleList(
            EncoderLayer(dim=dim, levels=encoder_levels, heads=heads, points=points, hidden=hidden)
            for _ in range(layers)
        )
        width = fine_dim or dim
        self.narrow = nn.Identity() if width == dim else nn.Conv2d(dim, width, 1)
        self.laterals = nn.ModuleList(_projection(c, width, bias=False, groups=norm_groups) for c in fine)
        self.outputs = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(width, width, 3, padding=1, bias=False), _norm(width, norm_groups), nn.ReLU(inplace=True)
            )
            for _ in fine
        )
        self.mask_features = nn.Conv2d(width, mask_dim, 1)
        for part in (self.narrow, *self.laterals, *self.outputs, self.mask_features):
            _fill_for_fpn(part)

    def forward(self, maps: Sequence[Tensor]) -> PixelFeatures:
        """Maps (B, C_i, h_i, w_i), finest first -> PixelFeatures."""
        if self.precision is None:
            return self._decode(maps)
        with full_precision(maps[0]):
            return self._decode([m.float() for m in maps])

    def _decode(self, maps: Sequence[Tensor]) -> PixelFeatures:
        coarse, fine = maps[::-1][: self.encoder_levels], maps[::-1][self.encoder_levels :]
        memory = self._encode([p(m) for p, m in zip(self.input_projections, coarse, strict=True)])
        x = self.narrow(memory[-1])
        for lateral, output, m in zip(self.laterals, self.outputs, fine, strict=True):
            side = lateral(m)
            side += F.interpolate(x, size=side.shape[-2:], mode="bilinear", align_corners=False)
            x = output(side)
        return PixelFeatures(memory=memory, pixels=self.mask_features(x))

    def _encode(self, maps: list[Tensor]) -> tuple[Tensor, ...]:
        shapes = [(m.shape[-2], m.shape[-1]) for m in maps]
        tokens = torch.cat([m.flatten(2).transpose(1, 2) for m in maps], dim=1)
        dim, device = tokens.shape[-1], tokens.device
        positions = torch.cat(
            [
                (sine_positions(h, w, dim, device)[0] + self.level_embed[i][:, None, None]).flatten(1).T
                for i, (h, w) in enumerate(shapes)
            ]
        )
        reference = torch.cat([_centres(h, w, device) for h, w in shapes])
        for layer in self.layers:
            if self.checkpointing and torch.is_grad_enabled():
                tokens = checkpoint(layer, tokens, positions, reference, shapes, use_reentrant=False)
            else:
                tokens = layer(tokens, positions, reference, shapes)
        parts = tokens.split([h * w for h, w in shapes], dim=1)
        return tuple(p.transpose(1, 2).unflatten(-1, s) for p, s in zip(parts, shapes, strict=True))


def _centres(height: int, width: int, device: torch.device) -> Tensor:
    """Centres (x, y) of a map's cells in 0..1, (h * w, 2)."""
    y = (torch.arange(height, device=device) + 0.5) / height
    x = (torch.arange(width, device=device) + 0.5) / width
    return torch.stack((x.expand(height, width), y[:, None].expand(height, width)), dim=-1).flatten(0, 1)


def _norm(dim: int, groups: int | None) -> GroupNorm:
    return GroupNorm(groups or max(1, dim // 8), dim)


def _projection(in_channels: int, dim: int, *, bias: bool = True, groups: int | None = None) -> nn.Sequential:
    convolution = nn.Conv2d(in_channels, dim, 1, bias=bias)
    nn.init.xavier_uniform_(convolution.weight)
    if convolution.bias is not None:
        nn.init.zeros_(convolution.bias)
    return nn.Sequential(convolution, _norm(dim, groups))


def _fill_for_fpn(part: nn.Module) -> None:
    """Uniform within sqrt(3 / fan-in), zero biases: detectron2's initialization of an FPN (``c2_xavier_fill``)."""
    for module in part.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_uniform_(module.weight, a=1)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
