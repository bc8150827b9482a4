"""Averages over the processes of a distributed training."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def mean_over_ranks(counts: Sequence[float], device: torch.device) -> Tensor:
    """Counts averaged over ranks, (n,), so that the weight of a target does not depend on its rank."""
    total = torch.tensor(counts, dtype=torch.float32, device=device)
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.all_reduce(total)
        total = total / torch.distributed.get_world_size()
    return total
