"""What takes the place of PyTorch's operations in a traced graph gives the same numbers."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from opsnet.ops.tracing import adaptive_average, number


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (5, 7), (6, 4)])  # most do not divide 5 x 7
def test_adaptive_average_is_pytorchs_traced_or_not(size) -> None:
    class Pool(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return adaptive_average(x, size)

    x = torch.rand(2, 3, 5, 7, generator=torch.Generator().manual_seed(0))
    expected = F.adaptive_avg_pool2d(x, size)
    assert torch.equal(Pool()(x), expected)
    program = torch.export.export(Pool(), (x,), strict=False)
    assert "adaptive_avg_pool2d" not in str(program.graph)
    torch.testing.assert_close(program.module()(x), expected)


def test_a_number_of_a_length_that_stays_open() -> None:
    class Height(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return number(x.shape[0], x)

    program = torch.export.export(
        Height(), (torch.rand(5),), dynamic_shapes={"x": {0: torch.export.Dim("length")}}, strict=False
    )
    assert program.module()(torch.rand(9)) == 9
