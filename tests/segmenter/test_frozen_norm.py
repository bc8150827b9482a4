"""Frozen BatchNorms: the published arithmetic, the names in the state dict, and the precision of the input."""

from __future__ import annotations

import copy

import pytest
import timm
import torch
from torch import nn

from opsnet.segmenter.frozen_norm import FoldedConv, FrozenNorm, freeze_norms


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


def test_its_input_gets_a_gradient_and_its_values_do_not() -> None:
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


def test_names_and_values_of_a_timm_model_do_not_change() -> None:
    torch.manual_seed(0)
    model = timm.create_model("resnet18", features_only=True, layers=[1, 1, 1, 1], channels=[8, 12, 16, 20])
    before = {name: value.clone() for name, value in model.state_dict().items() if "num_batches" not in name}
    frozen = freeze_norms(model)
    assert any(isinstance(module, FrozenNorm) for module in frozen.modules())
    assert frozen.state_dict().keys() == before.keys()
    assert all(torch.equal(value, before[name]) for name, value in frozen.state_dict().items())


def randomised(name: str, **kwargs: object) -> nn.Module:
    """A timm model whose norms are not the identity."""
    torch.manual_seed(0)
    model: nn.Module = timm.create_model(name, features_only=True, **kwargs).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for numbers in (module.weight, module.bias, module.running_mean, module.running_var):
                nn.init.uniform_(numbers, 0.5, 1.5)
    return model


@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "resnet18", "resnet50", "mobilenetv3_small_050"])
def test_folded_norms_give_the_same_maps_and_gradients(name: str) -> None:
    # In fp64, because rounding decides whether a saturated activation has a gradient.
    model, x = randomised(name), torch.randn(2, 3, 72, 56, dtype=torch.float64)
    plain, folded = (freeze_norms(copy.deepcopy(model), fold=fold).double() for fold in (False, True))
    norms = [module for module in folded.modules() if isinstance(module, FrozenNorm)]
    assert all(norm.folded for norm in norms)
    assert len(norms) == sum(isinstance(module, FoldedConv) for module in folded.modules())
    for one, expected in zip(folded(x), model.double()(x), strict=True):
        torch.testing.assert_close(one, expected, atol=1e-9 * expected.abs().max().item(), rtol=0)
    for network in (plain, folded):
        sum(one.square().mean() for one in network(x)).backward()
    gradients = dict(plain.named_parameters())
    assert folded.state_dict().keys() == plain.state_dict().keys()
    for name, value in folded.named_parameters():
        expected = gradients[name].grad
        torch.testing.assert_close(value.grad, expected, atol=1e-9 * expected.abs().max().item(), rtol=0)


def test_a_convolution_used_by_two_norms_is_not_folded() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 1)
            self.norms = nn.ModuleList(nn.BatchNorm2d(4) for _ in range(2))

        def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
            x = self.conv(x)
            return [self.norms[0](x) + self.norms[1](x)]

    model = Shared().eval()
    folded = freeze_norms(copy.deepcopy(model), fold=True)
    assert not any(isinstance(module, FoldedConv) for module in folded.modules())
    x = torch.randn(1, 3, 5, 5)
    torch.testing.assert_close(folded(x)[0], model(x)[0])


def test_a_copy_of_a_folded_model_uses_its_own_norms() -> None:
    folded = freeze_norms(randomised("resnet18"), fold=True)
    twin = copy.deepcopy(folded)
    for module in folded.modules():
        if isinstance(module, FrozenNorm):
            module.weight.zero_()
    x = torch.randn(1, 3, 64, 64)
    assert twin(x)[-1].abs().max() > 0
    assert not torch.equal(folded(x)[-1], twin(x)[-1])


def test_folded_weights_are_scaled_in_fp32_under_autocast() -> None:
    folded = freeze_norms(randomised("resnet18"), fold=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert folded(torch.randn(1, 3, 64, 64))[0].dtype == torch.bfloat16


def test_a_convolution_used_elsewhere_is_refused() -> None:
    class Skipped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 6, 1), norm_with_statistics()

        def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
            x = self.conv(x)
            return [self.norm(x) + x]

    with pytest.raises(ValueError, match="give backbone.fold_norms=false"):
        freeze_norms(Skipped(), fold=True)


def test_stochastic_depth_does_not_affect_the_comparison_and_the_mode_is_restored() -> None:
    model = timm.create_model("tf_efficientnet_lite0", features_only=True, drop_path_rate=0.5)
    assert freeze_norms(model, fold=True).training
