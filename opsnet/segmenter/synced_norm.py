"""BatchNorms with statistics over the images of all processes, also on a CPU.

PyTorch's SyncBatchNorm supports GPUs only. With synchronized norms, a training does not depend on the number of
processes among which the images of a step are divided; with plain BatchNorms each process would use its own few images.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch import distributed as dist


class SyncedNorm(nn.BatchNorm2d):
    """BatchNorm2d over the images of all processes; the names in the state dict are the same."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape and type."""
        if not self.training or not dist.is_available() or not dist.is_initialized() or dist.get_world_size() == 1:
            return super().forward(x)
        wide = x.float()  # sums of many values need fp32
        count = wide.new_full((1,), wide.numel() / wide.shape[1])
        total = sum_over_ranks(torch.cat((wide.sum((0, 2, 3)), count)))
        n = total[-1].detach()
        mean = total[:-1] / n
        centred = wide - mean[:, None, None]
        # From centred values: E[x^2] - E[x]^2 is inaccurate if the mean is large.
        variance = sum_over_ranks(centred.square().sum((0, 2, 3))) / n
        self._remember(mean.detach(), variance.detach() * (n / (n - 1)))
        scale = (variance + self.eps).rsqrt() * self.weight
        return (centred * scale[:, None, None] + self.bias[:, None, None]).to(x.dtype)

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        """Updates the running statistics (C,) as BatchNorm2d does."""
        assert self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        assert self.momentum is not None
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance, self.momentum)


def sync_norms(model: nn.Module) -> Any:
    """Replaces every plain BatchNorm2d of ``model`` by a synced norm with the same values."""
    for name, norm in [(n, m) for n, m in model.named_modules() if type(m) is nn.BatchNorm2d]:
        ours = SyncedNorm(norm.num_features, eps=norm.eps, momentum=norm.momentum)
        ours.load_state_dict(norm.state_dict())
        model.set_submodule(name, ours)
    return model


class _SumOverRanks(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return _summed(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return _summed(gradients[0])


def sum_over_ranks(x: Tensor) -> Tensor:
    """The sum of a tensor over all processes, on each of them; gradients are summed likewise."""
    total: Tensor = _SumOverRanks.apply(x)  # type: ignore[no-untyped-call]
    return total


def _summed(x: Tensor) -> Tensor:
    total = x.contiguous().clone()
    dist.all_reduce(total)
    return total
