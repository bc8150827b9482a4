"""The operations of ``opsnet/ops`` and their plain forms, with inputs of the sizes of training and prediction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from opsnet.ops.attention_masks import attention_masks, attention_masks_reference, resize_pixels
from opsnet.ops.contest import contest, contest_reference, in_groups
from opsnet.ops.cosines import cosines
from opsnet.ops.deformable_sampling import deformable_sampling, sampling_reference
from opsnet.ops.frozen_norms import NormNumbers, frozen_norm, frozen_norm_reference
from opsnet.ops.group_norm import group_norm
from opsnet.ops.inplace_relu import inplace_relu, relu_reference
from opsnet.ops.maps_at_points import SharedPoints, masks_at_points, masks_at_points_reference, sample_points
from opsnet.ops.mask_average import mask_average
from opsnet.ops.pairwise_costs import pairwise_costs, pairwise_costs_reference
from opsnet.ops.scaled_mlp import MlpWeights, scaled_mlp
from opsnet.ops.sparse_contest import SparseContest
from scripts.gpu_check.measure import Setup

Way = Callable[..., Any]


@dataclass(frozen=True)
class Case:
    """An operation and its plain form.

    Attributes:
        inputs: their tensors.
        ours, plain: from the inputs to a tensor or several.
        backward: whether it has gradients for the floating-point inputs.
        half: indices of the inputs that are bf16 in bf16; ``None``: the operation runs in fp32 only.
    """

    name: str
    inputs: tuple[Tensor, ...]
    ours: Way
    plain: Way
    backward: bool = True
    half: Sequence[int] | None = field(default=(0,))


def sampling(setup: Setup) -> Case:
    """Deformable sampling of one encoder layer; two crops of 1024 pixels as in training."""
    side, batch = (64, 1) if setup.quick else (1024, 2)
    shapes = [(side // stride, side // stride) for stride in (32, 16, 8)]
    length = sum(h * w for h, w in shapes)
    near = torch.randn(batch, length, 8, 3, 4, 2) * 4 / torch.tensor(shapes)[:, None]
    inputs = (
        torch.randn(batch, length, 8, 32),
        torch.rand(1, length, 1, 1, 1, 2) + near,
        torch.rand(batch, length, 8, 3, 4),
    )
    ours, plain = (lambda v, p, w, way=way: way(v, shapes, p, w) for way in (deformable_sampling, sampling_reference))
    return Case(f"deformable sampling, {batch} x {side}²", _on(setup, *inputs), ours, plain)


def points(setup: Setup) -> Case:
    """Values of a map with 256 channels at the points of the losses."""
    side, count = (16, 50) if setup.quick else (256, 12_544)
    inputs = _on(setup, torch.randn(2, 256, side, side), torch.rand(2, count, 2))
    return Case(
        f"map of {side}² at {count} points", (inputs[0],), lambda m: SharedPoints(inputs[1]).read(m),
        lambda m: sample_points(m, inputs[1].to(m.dtype)), half=None,
    )  # fmt: skip


def masks_points(setup: Setup) -> Case:
    """Masks of ten decoder layers at the matcher's points."""
    side, count = (16, 50) if setup.quick else (256, 12_544)
    inputs = _on(setup, torch.randn(10, 2, 100, 256), torch.randn(2, 256, side, side), torch.rand(2, count, 2))

    def ours(embeds: Tensor, pixels: Tensor, where: Tensor) -> list[Tensor]:
        return [masks.clone() for masks in masks_at_points(SharedPoints(where), list(embeds), pixels)]

    def plain(embeds: Tensor, pixels: Tensor, where: Tensor) -> list[Tensor]:
        return masks_at_points_reference(where, list(embeds), pixels)

    return Case(f"masks of ten layers at {count} points", inputs, ours, plain, backward=False, half=None)


def costs(setup: Setup) -> Case:
    """Costs of 100 masks and 20 segments at the matcher's points."""
    count = 50 if setup.quick else 12_544
    inputs = _on(setup, 4 * torch.randn(2, 100, count), (torch.rand(2, 20, count) > 0.5).float())
    return Case(
        "costs of 100 masks x 20 segments", inputs, lambda m, t: next(iter(pairwise_costs([m], t))),
        pairwise_costs_reference, backward=False, half=None,
    )  # fmt: skip


def masks_attention(setup: Setup) -> Case:
    """Masks of masked attention on the middle map."""
    side = 16 if setup.quick else 256
    like = torch.empty(2, 1, side // 4, side // 4)
    inputs = _on(setup, torch.randn(2, 100, 256), torch.randn(2, 256, side, side))
    return Case(
        f"attention masks, pixels of {side}²", inputs, lambda e, p: attention_masks(e, resize_pixels(p, like)),
        lambda e, p: attention_masks_reference(e, p, like), backward=False, half=(0, 1),
    )  # fmt: skip


def pooling(setup: Setup) -> Case:
    """Mask Pooling of CLIP's map for 100 masks."""
    side = 8 if setup.quick else 32
    inputs = _on(setup, torch.randn(2, 1024, side, side), torch.rand(2, 100, side, side))

    def plain(features: Tensor, weights: Tensor) -> Tensor:
        return torch.einsum("bchw, bkhw -> bkc", features, weights / weights.sum((-2, -1), keepdim=True))

    return Case(f"mask_average, map of {side}²", inputs, mask_average, plain, half=(0, 1))


def group_norms(setup: Setup) -> Case:
    """GroupNorm of the FPN's finest map; on a GPU it is PyTorch's."""
    side = 16 if setup.quick else 256
    x = torch.randn(2, 256, side, side).contiguous(memory_format=torch.channels_last)
    inputs = _on(setup, x, torch.rand(256), torch.randn(256))
    return Case(
        f"group_norm, map of {side}²", inputs, lambda x, w, b: group_norm(x, 32, w, b, 1e-5),
        lambda x, w, b: F.group_norm(x, 32, w, b, 1e-5),
    )  # fmt: skip


def frozen_norms(setup: Setup) -> Case:
    """The frozen BatchNorm after the first stage."""
    side = 16 if setup.quick else 256
    x = torch.randn(2, 256, side, side).contiguous(memory_format=torch.channels_last)
    numbers = _on(setup, torch.rand(256), torch.randn(256), torch.randn(256), 0.5 + torch.rand(256))

    def plain(x: Tensor) -> Tensor:
        exact = (n.double() if x.dtype == torch.float64 else n for n in numbers)
        return frozen_norm_reference(x, NormNumbers(*exact, 1e-5))

    norm = NormNumbers(*numbers, 1e-5)
    return Case(f"frozen_norm, map of {side}²", _on(setup, x), lambda x: frozen_norm(x, norm), plain)


def feed_forward(setup: Setup) -> Case:
    """The feed-forward layer of the encoder with its in-place ReLU."""
    rows = 64 if setup.quick else 21_504
    inputs = _on(setup, torch.randn(2, rows, 256), torch.randn(1024, 256) / 16, torch.randn(256, 1024) / 32)

    def run(relu: Way, x: Tensor, first: Tensor, second: Tensor) -> Tensor:
        return F.linear(relu(F.linear(x, first)), second)

    return Case(f"feed-forward, {rows} tokens", inputs, partial(run, inplace_relu), partial(run, relu_reference))


def convnext(setup: Setup) -> Case:
    """The MLP of a block of ConvNeXt-L's third stage; on a GPU it is PyTorch's operations."""
    side, dim = (4, 32) if setup.quick else (40, 768)
    weights = (torch.randn(4 * dim, dim) / dim**0.5, torch.randn(4 * dim), torch.randn(dim, 4 * dim) / dim**0.5)
    x, shortcut = torch.randn(2, side, side, dim), torch.randn(2, side, side, dim)
    inputs = _on(setup, x, shortcut, *weights, torch.randn(dim), torch.rand(dim))

    def ours(x: Tensor, shortcut: Tensor, *weights: Tensor) -> Tensor:
        return scaled_mlp(x, shortcut, MlpWeights(*weights))

    def plain(x: Tensor, shortcut: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor, gamma: Tensor) -> Tensor:
        return shortcut + gamma * F.linear(F.gelu(F.linear(x, w1, b1)), w2, b2)

    return Case(f"scaled_mlp, map of {side}²", inputs, ours, plain, half=(0, 1))


def names(setup: Setup) -> Case:
    """Cosines of 100 proposals with the names of ImageNet-21K."""
    count = 50 if setup.quick else 21_843
    inputs = _on(setup, torch.randn(2, 100, 1024), F.normalize(torch.randn(count, 1024), dim=-1))

    def plain(embeds: Tensor, text: Tensor) -> Tensor:
        return F.normalize(embeds, dim=-1) @ F.normalize(text, dim=-1).T

    return Case(f"cosines with {count} names", inputs, cosines, plain)


def merge(setup: Setup) -> Case:
    """The winner of each pixel among 30 masks."""
    size = (48, 64) if setup.quick else (800, 1333)
    inputs = _on(setup, torch.rand(30, *size), torch.rand(30))

    def ours(masks: Tensor, scores: Tensor) -> tuple[Tensor, ...]:
        every = torch.arange(len(masks), device=masks.device)
        return contest((masks[k] for k in in_groups(every, size)), scores, size)

    return Case(f"contest of 30 masks, {size[0]} x {size[1]}", inputs, ours, contest_reference, backward=False)


def merges(setup: Setup) -> Case:
    """Maps of twenty settings from the same masks, as in a sweep."""
    size, sets = ((48, 64), 3) if setup.quick else ((480, 640), 20)
    logits = F.interpolate(4 * torch.randn(1, 30, 12, 16), size=size, mode="bilinear")[0]
    inputs = _on(setup, logits.sigmoid(), torch.rand(sets, 30))

    def ours(masks: Tensor, scores: Tensor) -> Tensor:
        regions = torch.zeros(size, dtype=torch.int64, device=masks.device)
        prepared = SparseContest([masks], regions, 1, masks=len(masks), dtype=scores.dtype)
        ids = torch.arange(1, len(masks) + 1, device=masks.device)
        return torch.stack([w.paint(ids) for w in prepared.run(scores, torch.ones_like(scores, dtype=torch.bool))])

    def plain(masks: Tensor, scores: Tensor) -> Tensor:
        found = [contest_reference(masks, own) for own in scores]
        return torch.stack([(one.winner + 1) * one.inside for one in found])

    name = f"maps of {sets} settings, {size[0]} x {size[1]}"
    return Case(name, inputs, ours, plain, backward=False, half=None)


CASES: tuple[Callable[[Setup], Case], ...] = (
    sampling, points, masks_points, costs, masks_attention, pooling, group_norms, frozen_norms, feed_forward, convnext,
    names, merge, merges,
)  # fmt: skip


def _on(setup: Setup, *tensors: Tensor) -> tuple[Tensor, ...]:
    return tuple(t.to(setup.device) for t in tensors)
