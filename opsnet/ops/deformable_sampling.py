"""The core of deformable attention (Deformable DETR, equation 3): sampling locations and the weighted sum of samples.

The sum has three implementations, equal up to rounding: :func:`sampling_reference` is readable, :func:`sampling_sparse`
is fast on a CPU, and a Triton kernel is fast on a GPU (:mod:`opsnet.ops.deformable_triton`).
"""

from __future__ import annotations

import logging
from functools import cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from scipy import sparse
from torch import Tensor

log = logging.getLogger(__name__)
Shapes = list[tuple[int, int]]


def deformable_sampling(value: Tensor, shapes: Shapes, locations: Tensor, weights: Tensor) -> Tensor:
    """Weighted bilinear samples of several feature maps, by the fastest implementation for the device.

    Args:
        value: (B, L, heads, C), the maps of all levels, concatenated; L = sum of h * w.
        shapes: (h, w) of each level.
        locations: (B, Q, heads, levels, points, 2), (x, y) in 0..1 of the map, which is zero outside.
        weights: (B, Q, heads, levels, points).

    Returns:
        (B, Q, heads * C).
    """
    way = sampling_reference
    if torch.compiler.is_exporting():
        way = sampling_reference  # the others cannot be exported
    elif value.device.type == "cpu":
        way = sampling_sparse
    elif value.device.type == "cuda" and (kernel := working_kernel(str(value.device))) and kernel.supported(value):
        way = kernel.sampling_triton
    return way(value, shapes, locations, weights)


def sampling_locations(reference: Tensor, offsets: Tensor, shapes: Shapes) -> Tensor:
    """Sampling locations: reference points plus offsets in units of the cells of each level.

    Exactly equal to :func:`sampling_locations_reference`.

    Args:
        reference: (Q, 2), (x, y) in 0..1.
        offsets: (B, Q, heads, levels, points, 2), (x, y).
        shapes: (h, w) of each level.

    Returns:
        (B, Q, heads, levels, points, 2), (x, y) in 0..1 of the map.
    """
    # Expanded for every head and point: broadcasting over a last dimension of two is slow on a CPU.
    cells = _cell_sizes(shapes, offsets).expand(offsets.shape[2:]).contiguous()
    return reference[None, :, None, None, None] + offsets * cells


def sampling_locations_reference(reference: Tensor, offsets: Tensor, shapes: Shapes) -> Tensor:
    """The same by broadcasting."""
    return reference[None, :, None, None, None] + offsets * _cell_sizes(shapes, offsets)


def _cell_sizes(shapes: Shapes, like: Tensor) -> Tensor:
    """(width, height) of a cell of each level in 0..1, (levels, 1, 2); sizes may be symbolic."""
    sides = [torch.full((), side, dtype=like.dtype, device=like.device) for h, w in shapes for side in (w, h)]
    return 1 / torch.stack(sides).view(-1, 1, 2)


@cache
def working_kernel(device: str) -> Any:
    """The module with the fused kernel, or None (with a warning) if Triton is not installed or fails on ``device``.

    Triton compiles on first use and needs a C compiler, so this tests the forward and backward kernels before a
    training relies on them. It is called at the start of a training, otherwise on first use.
    """
    try:
        from opsnet.ops import deformable_triton as kernel

        _try(kernel.sampling_triton, device)
    except Exception as error:  # compilers, drivers and launches raise many types
        reason = " ".join(str(error).split())[:300]
        log.warning(
            "deformable attention uses grid_sample, which is slower than the Triton kernel (%s: %s)",
            type(error).__name__, reason,
        )  # fmt: skip
        return None
    return kernel


def _try(way: Any, device: str) -> None:
    """Runs forward and backward passes with the heads, levels, points and channels of the full-size network."""
    shapes = [(1, 1), (2, 2), (4, 4)]
    for dtype in (torch.float32, torch.bfloat16):
        value = torch.zeros(1, 21, 8, 32, device=device, dtype=dtype, requires_grad=True)
        locations = torch.full((1, 1, 8, 3, 4, 2), 0.5, device=device)
        with torch.enable_grad():
            way(value, shapes, locations, locations[..., 0]).float().sum().backward()
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)  # otherwise a later operation would report a failed launch


def sampling_reference(value: Tensor, shapes: Shapes, locations: Tensor, weights: Tensor) -> Tensor:
    """As :func:`deformable_sampling`, level by level with ``grid_sample``."""
    batch, _, heads, channels = value.shape
    queries, points = locations.shape[1], locations.shape[4]
    samples = []
    for level, part in enumerate(value.split([h * w for h, w in shapes], dim=1)):
        h, w = shapes[level]
        maps = part.permute(0, 2, 3, 1).reshape(batch * heads, channels, h, w)
        grid = (2 * locations[:, :, :, level] - 1).transpose(1, 2).flatten(0, 1)  # (B * heads, Q, points, 2)
        samples.append(F.grid_sample(maps, grid, mode="bilinear", padding_mode="zeros", align_corners=False))
    stacked = torch.stack(samples, dim=-2).flatten(-2)  # (B * heads, C, Q, levels * points)
    mixed = torch.einsum("ncql, nql -> nqc", stacked, weights.transpose(1, 2).reshape(batch * heads, queries, -1))
    assert stacked.shape[-1] == len(shapes) * points
    return mixed.unflatten(0, (batch, heads)).transpose(1, 2).flatten(2)


def sampling_sparse(value: Tensor, shapes: Shapes, locations: Tensor, weights: Tensor) -> Tensor:
    """As :func:`deformable_sampling`, by one product of a sparse matrix with the pixels of all maps.

    Each query and head reads four corners per point, so the matrix has ``4 * levels * points`` entries per row. The
    individual samples with all their channels are never stored.
    """
    batch, _, heads, channels = value.shape
    # Half precision would be accurate only to half a pixel on a wide map.
    exact = torch.float64 if value.dtype == torch.float64 else torch.float32
    starts, rows = _framed(shapes)
    # Expanded for every head, level and point; otherwise PyTorch would vectorize over four numbers only.
    full = (heads, len(shapes), locations.shape[4])
    sizes = value.new_tensor([(w, h) for h, w in shapes], dtype=exact)[None, :, None].expand(*full, 2).contiguous()
    image, head = torch.arange(batch) * (rows * heads), torch.arange(heads)
    first = torch.tensor(starts)[:, None] * heads
    base = image.view(-1, 1, 1, 1, 1) + (head[:, None, None] + first).expand(full)
    x, y = (locations.to(exact) * sizes - 0.5).unbind(-1)
    mixed = _SparseSampling.apply(value.to(exact), shapes, x, y, weights.to(exact), base.int(), sizes)
    return mixed.view(batch, -1, heads * channels).to(value.dtype)


def _framed(shapes: Shapes) -> tuple[list[int], int]:
    """Start of each level in a table of all pixels, with zero padding around the maps, and the length of the table.

    With the padding, no corner has to be tested for lying outside. A single column of zeros pads the end of one line
    and the start of the next, so a level begins one cell before its first line, above and left of its first pixel.
    """
    lengths = [(h + 3) * (w + 1) + 2 for h, w in shapes]
    return [sum(lengths[:i]) for i in range(len(lengths))], sum(lengths)


def _maps(table: Tensor, shapes: Shapes) -> list[Tensor]:
    """Views of the maps inside the padding of a table (B, rows, ...): (B, h, w, ...) for each level."""
    parts = []
    for start, (h, w) in zip(_framed(shapes)[0], shapes, strict=True):
        lines = table[:, start + 1 : start + 1 + (h + 3) * (w + 1)].unflatten(1, (h + 3, w + 1))
        parts.append(lines[:, 1 : h + 1, :w])
    return parts


def _table(value: Tensor, shapes: Shapes) -> Tensor:
    """Value (B, L, heads, C) with padding, as rows ordered by pixel and head: (B * rows * heads, C)."""
    batch, _, heads, channels = value.shape
    table = value.new_zeros(batch, _framed(shapes)[1], heads, channels)
    for inside, part in zip(_maps(table, shapes), value.split([h * w for h, w in shapes], dim=1), strict=True):
        inside.copy_(part.unflatten(1, inside.shape[1:3]))
    return table.view(-1, channels)


class _SparseSampling(torch.autograd.Function):
    """Points in pixels (x, y), all (B, Q, heads, levels, points), and value (B, L, heads, C) -> (B * Q * heads, C)."""

    @staticmethod
    def forward(
        ctx: Any, value: Tensor, shapes: Shapes, x: Tensor, y: Tensor, weights: Tensor, base: Tensor, sizes: Tensor
    ) -> Tensor:
        rows, ctx.shapes = _table(value, shapes), shapes
        width, height = sizes.unbind(-1)
        heads = x.shape[2]
        # Points outside the padding sample zeros, and so do points on its edge.
        clamped_x, clamped_y = x.clamp(min=-1).minimum(width), y.clamp(min=-1).minimum(height)
        left, above = clamped_x.floor(), clamped_y.floor()
        fx, fy = clamped_x - left, clamped_y - above
        line = (width + 1) * heads  # rows of the table; integers up to 2^24 are exact
        first = (above + 1).mul_(line).add_((left + 1).mul_(heads)).int() + base
        below = first + line.int()
        corners = torch.stack((first, first + heads, below, below + heads), dim=-1).view(x.shape[:3].numel(), -1)
        right_share = weights * fx
        left_share = weights - right_share
        low_left, low_right = left_share * fy, right_share * fy
        matrix = torch.stack((left_share - low_left, right_share - low_right, low_left, low_right), dim=-1)
        matrix = matrix.view(corners.shape)
        ctx.save_for_backward(rows, x, y, weights, fx, fy, sizes, corners, matrix)
        try:
            return F.embedding_bag(corners, rows, mode="sum", per_sample_weights=matrix)
        except RuntimeError as error:  # NaN as an integer is no row of the table
            if bool((x + y).isfinite().all()):
                raise
            raise FloatingPointError("positions of deformable attention contain NaN or infinity") from error

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        rows, x, y, weights, fx, fy, sizes, corners, matrix = ctx.saved_tensors
        width, height = sizes.unbind(-1)
        gradient = gradient.contiguous()
        for_value = None
        if ctx.needs_input_grad[0]:
            for_rows = _transposed_product(corners, matrix, gradient, len(rows))
            inside = _maps(for_rows.view(x.shape[0], -1, x.shape[2], rows.shape[1]), ctx.shapes)
            for_value = torch.cat([part.flatten(1, 2) for part in inside], dim=1)
        # Gradient of each matrix entry: the product of the row it reads with the gradient of the output.
        begins = torch.arange(0, corners.numel() + 1, corners.shape[1], dtype=corners.dtype)
        pattern = _csr(begins, corners.flatten(), matrix.flatten(), (len(corners), len(rows)))
        worth = torch.sparse.sampled_addmm(pattern, gradient, rows.T, beta=0.0).values()
        a, b, c, d = worth.view(*x.shape, 4).unbind(-1)  # corners: above left, above right, below left, below right
        across_top, across_bottom = b - a, d - c
        top, bottom = a + fx * across_top, c + fx * across_bottom
        down = bottom - top
        for_weights = top + fy * down
        for_x = weights * (across_top + fy * (across_bottom - across_top)) * ((x >= -1) & (x <= width))
        for_y = weights * down * ((y >= -1) & (y <= height))
        return for_value, None, for_x, for_y, for_weights, None, None


def _transposed_product(corners: Tensor, matrix: Tensor, gradient: Tensor, rows: int) -> Tensor:
    """Transposed sparse matrix times ``gradient``: the gradient of each row sums over all queries that read it.

    SciPy transposes by counting sort, which is eleven times as fast as sorting the indices.
    """
    queries, entries = corners.shape
    begins = np.arange(0, queries * entries + 1, entries, dtype=np.int32)
    transposed = sparse.csr_matrix(
        (matrix.flatten().numpy(), corners.flatten().numpy(), begins), shape=(queries, rows)
    ).tocsc()
    readers, starts = torch.from_numpy(transposed.indices), torch.from_numpy(transposed.indptr[:-1])
    return F.embedding_bag(readers, gradient, starts, mode="sum", per_sample_weights=torch.from_numpy(transposed.data))


def _csr(begins: Tensor, columns: Tensor, values: Tensor, size: tuple[int, int]) -> Tensor:
    import warnings

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        return torch.sparse_csr_tensor(begins, columns, values, size=size, check_invariants=False)
