"""The MLP of a ConvNeXt block, row by row, equals the plain one."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from opsnet.ops import scaled_mlp as ops
from opsnet.ops.scaled_mlp import MlpWeights, scaled_mlp, scaled_mlp_by_rows, scaled_mlp_reference


def _inputs(channels: int = 8, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, MlpWeights]:
    torch.manual_seed(0)
    weight1, weight2 = torch.randn(4 * channels, channels), torch.randn(channels, 4 * channels)
    weights = MlpWeights(weight1, torch.randn(4 * channels), weight2, torch.randn(channels), torch.randn(channels))
    x, shortcut = torch.randn(2, 2, 5, 7, channels).to(dtype)
    return x, shortcut, MlpWeights(*(w.to(dtype) for w in weights))


@pytest.mark.parametrize("rows", [1, 16, 70, 1024])  # 70 positions: whole groups, a last smaller one, all at once
def test_rows_equal_the_reference(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ops, "ROWS", rows)
    x, shortcut, weights = _inputs(dtype=torch.float64)
    before = shortcut.clone()
    torch.testing.assert_close(
        scaled_mlp_by_rows(x, shortcut, weights), scaled_mlp_reference(x, shortcut, weights), rtol=0, atol=1e-12
    )
    assert torch.equal(shortcut, before)  # it may be a map that others read


def test_rows_equal_the_reference_under_autocast() -> None:
    x, shortcut, weights = _inputs()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        fast, plain = scaled_mlp(x, shortcut, weights), scaled_mlp_reference(x, shortcut, weights)
    assert fast.dtype == plain.dtype == torch.float32
    exact = scaled_mlp_reference(x, shortcut, weights)
    assert (fast - exact).norm() <= 1.1 * (plain - exact).norm()
    assert (fast - exact).norm() < 0.02 * exact.norm()


def test_memory_formats_give_the_same() -> None:
    x, shortcut, weights = _inputs()
    strided = shortcut.permute(0, 3, 1, 2).contiguous().permute(0, 2, 3, 1)
    with torch.no_grad():
        assert torch.equal(scaled_mlp(x, strided, weights), scaled_mlp(x, shortcut, weights))


def test_gradients_flow_where_they_are_wanted() -> None:
    x, shortcut, weights = _inputs()
    scaled_mlp(x.requires_grad_(), shortcut, weights).sum().backward()
    assert x.grad is not None and bool((x.grad != 0).any())
