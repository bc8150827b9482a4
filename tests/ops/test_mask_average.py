"""Means inside masks, and what an empty mask does to them and to their gradients."""

from __future__ import annotations

import pytest
import torch

from opsnet.ops.mask_average import mask_average


def test_it_is_the_weighted_mean() -> None:
    torch.manual_seed(0)
    features, weights = torch.randn(2, 5, 3, 4), torch.rand(2, 6, 3, 4)
    expected = torch.einsum("bchw,bkhw->bkc", features, weights) / weights.sum((-2, -1))[..., None]
    torch.testing.assert_close(mask_average(features, weights), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_an_empty_mask_has_zeros_and_no_gradient(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    features = torch.randn(1, 5, 3, 4, dtype=dtype, requires_grad=True)
    weights = torch.zeros(1, 2, 3, 4, dtype=dtype)
    weights[:, 0, 1, 1] = 1
    means = mask_average(features, weights)
    assert torch.equal(means[0], torch.stack((features[0, :, 1, 1], torch.zeros(5, dtype=dtype))))
    (64 * means).sum().backward()  # a LayerNorm of a zero embedding multiplies gradients by 300
    assert torch.equal(features.grad, 64 * weights[:, :1].expand_as(features))
