"""Averages over the processes of a distributed training."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def mean_over_ranks(counts: Sequence[float], device: torch.device) -> Tensor:
    """Counts of a rank on average (n,), so that a target weighs the same on a rank with few of them and with many."""
    total = torch.tensor(counts, dtype=torch.float32, device=device)
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.all_reduce(total)
        total = total / torch.distributed.get_world_size()
    return total
