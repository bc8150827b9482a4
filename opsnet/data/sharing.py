"""How the images of an optimiser step are shared: among processes at once, and among batches one after the other.

Sizes of batches are given as totals, as papers give them, so that a training is the same on any number of devices.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from opsnet.utils.errors import DatasetError


def batch_share(key: str, total: int, world_size: int, accumulate: int) -> int:
    """Images of one batch of one process.

    Args:
        key: of ``total``, for the message.
        total: images of an optimiser step.
        world_size: processes.
        accumulate: batches of a process in a step, whose gradients are summed.

    Raises:
        DatasetError: they cannot be shared equally.
    """
    parts = world_size * accumulate
    if total % parts:
        devices = f"{world_size} device{'s' * (world_size > 1)}"
        batches = f" with trainer.accumulate_grad_batches={accumulate}" if accumulate > 1 else ""
        nearest = max(parts, round(total / parts) * parts)
        raise DatasetError(
            f"data.module.{key}={total} images a step in total cannot be shared equally by {devices}{batches}: choose "
            f"a multiple of {parts}, such as data.module.{key}={nearest}, or another number of devices "
            "(trainer.devices x trainer.num_nodes)"
        )
    return total // parts


def batches_per_step(totals: Mapping[str, int], world_size: int, most: int | None) -> int:
    """The least number of batches in which every process takes its share of a step.

    Args:
        totals: images of an optimiser step by key; each key's share is a whole number of images in every batch.
        world_size: processes.
        most: images of a key that a device takes at once; ``None``: its whole share.

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
        f"{told} images a step in total cannot be shared by {world_size} devices in batches of at most "
        f"data.module.device_batch_size={most}: give the two the same total, or raise device_batch_size"
    )


def checked_by_another_process() -> bool:
    """Whether another process of this machine checks the data sets: the first of those that train together.

    Lightning, torchrun and SLURM say so before the processes know one another. Where the first finds a fault it ends
    with a message, before Lightning has started the others, or torchrun and ``srun --kill-on-bad-exit`` end them.
    """
    return int(os.environ.get("LOCAL_RANK") or os.environ.get("SLURM_LOCALID") or 0) > 0
