"""Averages over ranks."""

from __future__ import annotations

from pathlib import Path

import torch
from ranks import on_two_ranks

from opsnet.losses.ranks import mean_over_ranks

CPU = torch.device("cpu")


def counts_of(rank: int) -> torch.Tensor:
    return mean_over_ranks([(5, 1.5), (2, 0.5)][rank], CPU)


def test_every_rank_gets_the_mean(tmp_path: Path) -> None:
    assert [found.tolist() for found in on_two_ranks(counts_of, tmp_path)] == [[3.5, 1.0]] * 2


def test_one_process_alone() -> None:
    assert mean_over_ranks((5, 1.5), CPU).tolist() == [5, 1.5]
