"""How the images of an optimizer step are split over processes and over accumulated batches.

Batch sizes are totals, as papers state them, so that a training is the same on any number of devices.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from opsnet.utils.errors import DatasetError


def batch_share(key: str, total: int, world_size: int, accumulate: int) -> int:
    """Images per batch and process.

    Args:
        key: configuration key of ``total``, for the message.
        total: images per optimizer step.
        world_size: number of processes.
        accumulate: batches per process and step, over which gradients are accumulated.

    Raises:
        DatasetError: the images cannot be split equally.
    """
    parts = world_size * accumulate
    if total % parts:
        devices = f"{world_size} device{'s' * (world_size > 1)}"
        batches = f" with trainer.accumulate_grad_batches={accumulate}" if accumulate > 1 else ""
        nearest = max(parts, round(total / parts) * parts)
        raise DatasetError(
            f"data.module.{key}={total} images per step in total cannot be split equally over {devices}{batches}: "
            f"choose a multiple of {parts}, such as data.module.{key}={nearest}, or another number of devices "
            "(trainer.devices x trainer.num_nodes)"
        )
    return total // parts


def batches_per_step(totals: Mapping[str, int], world_size: int, most: int | None) -> int:
    """The smallest number of batches into which every process can split its share of a step.

    Args:
        totals: images per optimizer step by key; each key contributes the same whole number of images to every batch.
        world_size: number of processes.
        most: the most images of a key per device and batch; ``None``: no limit.

    Raises:
        DatasetError: there is no such number.
    """
    shares = {key: batch_share(key, total, world_size, 1) for key, total in totals.items()}
    for count in range(1, min(shares.values()) + 1):
        sizes = [share / count for share in shares.values()]
        if all(size == int(size) and (most is None or size <= most) for size in sizes):
            return count
    told = ", ".join(f"data.module.{key}={total}" for key, total in totals.items())
    raise DatasetError(
        f"{told} images per step in total cannot be split over {world_size} devices in batches of at most "
        f"data.module.device_batch_size={most}: give both the same total, or raise device_batch_size"
    )


def checked_by_another_process() -> bool:
    """Whether another process on this machine checks the datasets: the one with local rank 0.

    Lightning, torchrun and SLURM set the local rank before the process group is initialized. If the first process finds
    an error it exits with a message, before Lightning has started the others; torchrun and ``srun --kill-on-bad-exit``
    terminate them.
    """
    return int(os.environ.get("LOCAL_RANK") or os.environ.get("SLURM_LOCALID") or 0) > 0
