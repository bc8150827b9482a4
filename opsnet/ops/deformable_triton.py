"""Deformable sampling as fused Triton kernels for CUDA, one forward and one backward.

A program processes a block of queries of one image and head, reads the four corners of each point directly from the
maps and stores no samples. The backward pass reads the corners again and adds to the gradient of the maps atomically in
fp32, so the order of the additions, and therefore the last digits, differ between runs.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

_QUERIES = 16  # per program


def supported(value: Tensor) -> bool:
    """Whether the kernel supports ``value`` (B, L, heads, C): C is a power of two, the type has at most 32 bits."""
    channels = value.shape[-1]
    return channels & (channels - 1) == 0 and value.dtype in (torch.float32, torch.float16, torch.bfloat16)


def sampling_triton(value: Tensor, shapes: list[tuple[int, int]], locations: Tensor, weights: Tensor) -> Tensor:
    """As :func:`opsnet.ops.deformable_sampling.deformable_sampling`."""
    sizes, starts = _levels(tuple(shapes), str(value.device))
    # Half precision would be accurate only to half a pixel on a wide map.
    mixed: Tensor = _Sampling.apply(
        value.contiguous(), locations.float().contiguous(), weights.float().contiguous(), sizes, starts
    )
    return mixed.flatten(2)


@lru_cache(maxsize=256)
def _levels(shapes: tuple[tuple[int, int], ...], device: str) -> tuple[Tensor, Tensor]:
    """(h, w) of each level, (levels, 2), and the row at which it starts, (levels,); kept, since copying them waits."""
    sizes = torch.tensor(shapes, dtype=torch.int32)
    areas = sizes[:, 0] * sizes[:, 1]
    return sizes.to(device), (areas.cumsum(0) - areas).to(torch.int32).to(device)


class _Sampling(torch.autograd.Function):
    """Value (B, L, heads, C), locations, weights, sizes (levels, 2), starts (levels,) -> (B, Q, heads, C)."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, locations: Tensor, weights: Tensor, sizes: Tensor, starts: Tensor) -> Tensor:
        batch, length, heads, channels = value.shape
        queries, levels, points = locations.shape[1], locations.shape[3], locations.shape[4]
        mixed = value.new_empty(batch, queries, heads, channels)
        grid = (triton.cdiv(queries, _QUERIES), batch * heads)
        _forward[grid](
            value, locations, weights, sizes, starts, mixed, length, queries,
            HEADS=heads, LEVELS=levels, POINTS=points, CHANNELS=channels, BLOCK=_QUERIES,
        )  # fmt: skip
        ctx.save_for_backward(value, locations, weights, sizes, starts)
        return mixed

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        value, locations, weights, sizes, starts = ctx.saved_tensors
        batch, length, heads, channels = value.shape
        queries, levels, points = locations.shape[1], locations.shape[3], locations.shape[4]
        for_value = torch.zeros_like(value, dtype=torch.float32)
        for_locations, for_weights = torch.empty_like(locations), torch.empty_like(weights)
        grid = (triton.cdiv(queries, _QUERIES), batch * heads)
        _backward[grid](
            value, locations, weights, sizes, starts, gradient.contiguous(), for_value, for_locations, for_weights,
            length, queries, HEADS=heads, LEVELS=levels, POINTS=points, CHANNELS=channels, BLOCK=_QUERIES,
        )  # fmt: skip
        return for_value.to(value.dtype), for_locations, for_weights, None, None


@triton.jit
def _place(locations, sizes, starts, entry, level, inside):  # type: ignore[no-untyped-def]
    """Size and start of a level, and for one point per query its first corner and its offset from that corner."""
    height = tl.load(sizes + 2 * level)
    width = tl.load(sizes + 2 * level + 1)
    x = tl.load(locations + 2 * entry, mask=inside, other=0.0) * width - 0.5
    y = tl.load(locations + 2 * entry + 1, mask=inside, other=0.0) * height - 0.5
    # Far outside everything is zero, and pixel indices must fit into 32 bits.
    near = (x > -1) & (x < width) & (y > -1) & (y < height)
    x = tl.where(near, x, -2.0)
    y = tl.where(near, y, -2.0)
    left = tl.floor(x)
    above = tl.floor(y)
    return height, width, tl.load(starts + level), left.to(tl.int32), above.to(tl.int32), x - left, y - above


@triton.jit
def _corner(value, first, start, column, row, height, width, inside, HEADS: tl.constexpr, CHANNELS: tl.constexpr):  # type: ignore[no-untyped-def]
    """Offsets (BLOCK, CHANNELS) of one corner per query, which of them lie on the map, and their values."""
    there = inside & (column >= 0) & (column < width) & (row >= 0) & (row < height)
    offsets = first + (start + row * width + column).to(tl.int64) * (HEADS * CHANNELS)
    offsets = offsets[:, None] + tl.arange(0, CHANNELS)[None, :]
    found = tl.load(value + offsets, mask=there[:, None], other=0.0).to(tl.float32)
    return offsets, there[:, None], found


@triton.jit
def _forward(  # type: ignore[no-untyped-def]
    value, locations, weights, sizes, starts, mixed, length, queries,
    HEADS: tl.constexpr, LEVELS: tl.constexpr, POINTS: tl.constexpr, CHANNELS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    image = (tl.program_id(1) // HEADS).to(tl.int64)
    head = tl.program_id(1) % HEADS
    query = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = query < queries
    place = (image * queries + query) * HEADS + head
    first = (image * length * HEADS + head) * CHANNELS
    total = tl.zeros((BLOCK, CHANNELS), dtype=tl.float32)
    for level in tl.static_range(LEVELS):
        for point in tl.static_range(POINTS):
            entry = place * (LEVELS * POINTS) + level * POINTS + point
            height, width, start, column, row, fx, fy = _place(locations, sizes, starts, entry, level, inside)
            weight = tl.load(weights + entry, mask=inside, other=0.0)
            _, _, a = _corner(value, first, start, column, row, height, width, inside, HEADS, CHANNELS)
            _, _, b = _corner(value, first, start, column + 1, row, height, width, inside, HEADS, CHANNELS)
            _, _, c = _corner(value, first, start, column, row + 1, height, width, inside, HEADS, CHANNELS)
            _, _, d = _corner(value, first, start, column + 1, row + 1, height, width, inside, HEADS, CHANNELS)
            fx = fx[:, None]
            fy = fy[:, None]
            total += weight[:, None] * ((1 - fy) * ((1 - fx) * a + fx * b) + fy * ((1 - fx) * c + fx * d))
    offsets = place[:, None] * CHANNELS + tl.arange(0, CHANNELS)[None, :]
    tl.store(mixed + offsets, total.to(mixed.dtype.element_ty), mask=inside[:, None])


@triton.jit
def _backward(  # type: ignore[no-untyped-def]
    value, locations, weights, sizes, starts, gradient, for_value, for_locations, for_weights, length, queries,
    HEADS: tl.constexpr, LEVELS: tl.constexpr, POINTS: tl.constexpr, CHANNELS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    image = (tl.program_id(1) // HEADS).to(tl.int64)
    head = tl.program_id(1) % HEADS
    query = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = query < queries
    place = (image * queries + query) * HEADS + head
    first = (image * length * HEADS + head) * CHANNELS
    offsets = place[:, None] * CHANNELS + tl.arange(0, CHANNELS)[None, :]
    worth = tl.load(gradient + offsets, mask=inside[:, None], other=0.0).to(tl.float32)
    for level in tl.static_range(LEVELS):
        for point in tl.static_range(POINTS):
            entry = place * (LEVELS * POINTS) + level * POINTS + point
            height, width, start, column, row, fx, fy = _place(locations, sizes, starts, entry, level, inside)
            weight = tl.load(weights + entry, mask=inside, other=0.0)
            at_a, on_a, a = _corner(value, first, start, column, row, height, width, inside, HEADS, CHANNELS)
            at_b, on_b, b = _corner(value, first, start, column + 1, row, height, width, inside, HEADS, CHANNELS)
            at_c, on_c, c = _corner(value, first, start, column, row + 1, height, width, inside, HEADS, CHANNELS)
            at_d, on_d, d = _corner(value, first, start, column + 1, row + 1, height, width, inside, HEADS, CHANNELS)
            tl.atomic_add(for_value + at_a, (weight * (1 - fx) * (1 - fy))[:, None] * worth, mask=on_a)
            tl.atomic_add(for_value + at_b, (weight * fx * (1 - fy))[:, None] * worth, mask=on_b)
            tl.atomic_add(for_value + at_c, (weight * (1 - fx) * fy)[:, None] * worth, mask=on_c)
            tl.atomic_add(for_value + at_d, (weight * fx * fy)[:, None] * worth, mask=on_d)
            worth_a = tl.sum(worth * a, axis=1)
            worth_b = tl.sum(worth * b, axis=1)
            worth_c = tl.sum(worth * c, axis=1)
            worth_d = tl.sum(worth * d, axis=1)
            top = worth_a + fx * (worth_b - worth_a)
            bottom = worth_c + fx * (worth_d - worth_c)
            across = (1 - fy) * (worth_b - worth_a) + fy * (worth_d - worth_c)
            tl.store(for_weights + entry, top + fy * (bottom - top), mask=inside)
            tl.store(for_locations + 2 * entry, weight * across * width, mask=inside)
            tl.store(for_locations + 2 * entry + 1, weight * (bottom - top) * height, mask=inside)
