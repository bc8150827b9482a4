"""Two processes of a distributed training, for tests of collective computations."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch


def on_two_ranks(work: Callable[[int], Any], folder: Path) -> tuple[Any, Any]:
    """The results of ``work(rank)``, a function of a test module, in each of two processes connected by gloo.

    The processes are spawned, because autograd's threads do not survive a fork.
    """
    context = multiprocessing.get_context("spawn")
    ranks = [context.Process(target=_join, args=(rank, work, str(folder)), daemon=True) for rank in (0, 1)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join(timeout=120)
        assert process.exitcode == 0
    first, second = (torch.load(folder / f"{rank}.pt") for rank in (0, 1))
    return first, second


def _join(rank: int, work: Callable[[int], Any], folder: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    torch.save(work(rank), Path(folder, f"{rank}.pt"))
    torch.distributed.destroy_process_group()
