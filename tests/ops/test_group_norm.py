"""GroupNorm against PyTorch's in double precision."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from opsnet.ops import group_norm as module
from opsnet.ops.group_norm import group_norm

GROUPS, CHANNELS = 4, 16
FORMATS = [torch.contiguous_format, torch.channels_last]


def example(mean: float, size: tuple[int, int] = (40, 52), memory_format=torch.channels_last) -> tuple[Tensor, ...]:
    """A map (2, 16, h, w) whose groups have this mean in standard deviations, weight and bias."""
    torch.manual_seed(0)
    means = mean * torch.randn(2, GROUPS).sign().repeat_interleave(CHANNELS // GROUPS, 1)
    x = torch.randn(2, CHANNELS, *size) + means[..., None, None]
    return x.contiguous(memory_format=memory_format), torch.randn(CHANNELS), torch.randn(CHANNELS)


def in_double(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return F.group_norm(x.double().contiguous(), GROUPS, weight.double(), bias.double(), 1e-5)


@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize(("mean", "error"), [(0.0, 1e-5), (10.0, 1e-5), (300.0, 2e-4)])
@pytest.mark.parametrize("with_gradient", [False, True])
def test_a_large_mean_costs_no_precision(mean: float, error: float, memory_format, with_gradient: bool) -> None:
    x, weight, bias = example(mean, memory_format=memory_format)
    out = group_norm(x, GROUPS, weight.requires_grad_(with_gradient), bias, 1e-5)
    assert out.is_contiguous(memory_format=memory_format)
    torch.testing.assert_close(out.double(), in_double(x, weight, bias), rtol=0, atol=error)


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (4, 5), (17, 9)])
def test_maps_of_every_size_and_their_chunks(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK", CHANNELS * size[1] * 3)  # three rows, and a rest
    x, weight, bias = example(10.0, size)
    out = group_norm(x, GROUPS, weight, bias, 1e-5)
    torch.testing.assert_close(out.double(), in_double(x, weight, bias), rtol=0, atol=1e-4)


def test_one_outlying_pixel_in_the_sample_that_gives_the_approximate_mean() -> None:
    x, weight, bias = example(0.0)
    x[..., 0, 0] = 1e3
    out = group_norm(x, GROUPS, weight, bias, 1e-5)
    torch.testing.assert_close(out.double(), in_double(x, weight, bias), rtol=1e-5, atol=1e-5)


def test_gradients_are_those_of_pytorch() -> None:
    inputs = [tensor.double().requires_grad_() for tensor in example(3.0, (4, 5))]
    ours = torch.autograd.grad(group_norm(*(inputs[0], GROUPS, *inputs[1:]), 1e-5).square().sum(), inputs)
    theirs = torch.autograd.grad(in_double(*inputs).square().sum(), inputs)
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("with_gradient", [False, True])
def test_bf16_stays_bf16_and_is_summed_in_fp32(with_gradient: bool) -> None:
    x, weight, bias = (tensor.bfloat16() for tensor in example(3.0))
    out = group_norm(x, GROUPS, weight.float().requires_grad_(with_gradient), bias.float(), 1e-5)
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out.double(), in_double(x, weight, bias), rtol=0.01, atol=0.02)
