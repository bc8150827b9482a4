"""Frozen norms: computed in one operation or folded, they give the maps and gradients of PyTorch's BatchNorm."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from opsnet.ops.frozen_norms import NormNumbers, frozen_norm, frozen_norm_reference, normalized_weights


def numbers(channels: int, dtype: torch.dtype = torch.float32) -> NormNumbers:
    generator = torch.Generator().manual_seed(0)
    return NormNumbers(*(0.1 + torch.rand(4, channels, generator=generator)).to(dtype), eps=1e-5)


def test_by_hand() -> None:
    norm = NormNumbers(*torch.tensor([[2.0], [1.0], [3.0], [4.0]]), eps=0.0)
    x = torch.tensor([7.0]).view(1, 1, 1, 1)
    assert frozen_norm_reference(x, norm).item() == pytest.approx(2 * (7 - 3) / 2 + 1)
    assert frozen_norm(x, norm).item() == pytest.approx(5)


@pytest.mark.parametrize(("dtype", "error"), [(torch.float32, 1e-5), (torch.float64, 1e-6), (torch.bfloat16, 3e-2)])
def test_one_operation_is_the_reference(dtype: torch.dtype, error: float) -> None:
    """Up to rounding in the map's type; for fp64 up to rounding of the norm's values, which stay in fp32."""
    x = torch.randn(2, 6, 5, 7, generator=torch.Generator().manual_seed(1)).to(dtype)
    found = frozen_norm(x, numbers(6))
    assert found.dtype == dtype
    expected = frozen_norm_reference(x.double(), NormNumbers(*(n.double() for n in numbers(6)[:4]), eps=1e-5))
    torch.testing.assert_close(found.double(), expected, atol=error, rtol=error)


@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize("with_bias", [True, False])
def test_a_convolution_with_normalized_weights_is_convolution_and_reference(groups: int, with_bias: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 6, 9, 8, dtype=torch.float64, generator=generator).requires_grad_()
    weight = torch.randn(12, 6 // groups, 3, 3, dtype=torch.float64, generator=generator).requires_grad_()
    bias = torch.randn(12, dtype=torch.float64, generator=generator).requires_grad_() if with_bias else None
    norm, leaves = numbers(12, torch.float64), [x, weight, *([] if bias is None else [bias])]
    expected = frozen_norm_reference(F.conv2d(x, weight, bias, padding=1, groups=groups), norm)
    found = F.conv2d(x, *normalized_weights(weight, bias, norm), padding=1, groups=groups)
    torch.testing.assert_close(found, expected, atol=1e-10, rtol=0)
    for a, b in zip(*(torch.autograd.grad(y.square().sum(), leaves) for y in (found, expected)), strict=True):
        torch.testing.assert_close(a, b, atol=1e-8, rtol=0)
