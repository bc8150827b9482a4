"""Frozen BatchNorms: the published arithmetic, names of the state dict, and the precision of what they normalise."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import nn

from opsnet.segmenter.frozen_norm import FrozenNorm, freeze_norms


def norm_with_statistics() -> nn.BatchNorm2d:
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(6).eval()
    for numbers in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
        nn.init.uniform_(numbers, 0.1, 2.0)
    return norm


def test_it_normalises_as_batch_norm_does_in_evaluation() -> None:
    norm, x = norm_with_statistics(), torch.randn(2, 6, 5, 7)
    frozen = freeze_norms(nn.Sequential(norm))
    assert isinstance(frozen[0], FrozenNorm)
    torch.testing.assert_close(frozen.train()(x), norm(x))


def test_a_gradient_passes_through_it_and_none_stays() -> None:
    norm = norm_with_statistics()
    x = torch.randn(2, 6, 5, 7, requires_grad=True)
    (expected,) = torch.autograd.grad(norm(x).square().sum(), x)
    frozen = freeze_norms(nn.Sequential(norm))
    (seen,) = torch.autograd.grad(frozen(x).square().sum(), x)
    torch.testing.assert_close(seen, expected)
    assert not list(frozen.parameters())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_it_keeps_the_precision(dtype: torch.dtype) -> None:
    norm = norm_with_statistics()
    x = torch.randn(2, 6, 5, 7, dtype=dtype)
    seen = freeze_norms(nn.Sequential(norm))(x)
    assert seen.dtype == dtype
    torch.testing.assert_close(seen.float(), norm(x.float()), atol=3e-2 if dtype == torch.bfloat16 else 1e-5, rtol=1e-2)


def test_names_and_numbers_of_a_timm_model_stay() -> None:
    torch.manual_seed(0)
    model = timm.create_model("resnet18", features_only=True, layers=[1, 1, 1, 1], channels=[8, 12, 16, 20])
    before = {name: value.clone() for name, value in model.state_dict().items() if "num_batches" not in name}
    frozen = freeze_norms(model)
    assert any(isinstance(module, FrozenNorm) for module in frozen.modules())
    assert frozen.state_dict().keys() == before.keys()
    assert all(torch.equal(value, before[name]) for name, value in frozen.state_dict().items())
