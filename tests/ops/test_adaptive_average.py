"""Adaptive averages: the form for exported graphs equals PyTorch's own, and is the one that is exported."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from opsnet.ops.adaptive_average import adaptive_average, adaptive_average_reference, adaptive_average_separable


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (5, 7), (6, 4)])  # most do not divide 5 x 7
def test_both_forms_are_equal_up_to_rounding(size) -> None:
    x = torch.rand(2, 3, 5, 7, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(adaptive_average_separable(x, size), adaptive_average_reference(x, size))


def test_pytorchs_own_operation_is_used_unless_exporting() -> None:
    class Pool(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return adaptive_average(x, (2, 3))

    x = torch.rand(2, 3, 5, 7, generator=torch.Generator().manual_seed(0))
    expected = adaptive_average_reference(x, (2, 3))
    assert torch.equal(Pool()(x), expected)
    program = torch.export.export(Pool(), (x,), strict=False)
    assert "adaptive_avg_pool2d" not in str(program.graph)
    torch.testing.assert_close(program.module()(x), expected)
