"""The numbers of a training, checked before anything is built."""

from __future__ import annotations

from typing import Any

from opsnet.utils.option_values import (
    COUNT,
    INFERENCE,
    POSITIVE,
    POSITIVE_OR_NULL,
    SHARE,
    SHARE_OR_NULL,
    Number,
    Switch,
    check_values,
)

LENGTH = Number(-1, whole=True, null=True)
"""Epochs or steps; -1: no limit."""
NOT_NEGATIVE = Number(0, null=True)

TRAINING: dict[str, Number | Switch] = {
    **INFERENCE,
    "seed": COUNT, "overlap": SHARE, "ema": SHARE_OR_NULL, "recognizer_multiplier": NOT_NEGATIVE,
    "progress_every": Number(0),
    "checkpoint_every": POSITIVE, "skip_done": Switch(), "probes.every": POSITIVE_OR_NULL,
    "probes.limit": POSITIVE_OR_NULL, "optim.max_epochs": LENGTH, "optim.max_steps": LENGTH,
    "optim.optimizer.lr": NOT_NEGATIVE, "optim.optimizer.weight_decay": NOT_NEGATIVE,
    "trainer.max_epochs": LENGTH, "trainer.max_steps": LENGTH, "trainer.gradient_clip_val": NOT_NEGATIVE,
    "trainer.check_val_every_n_epoch": POSITIVE_OR_NULL, "trainer.log_every_n_steps": COUNT,
    "trainer.accumulate_grad_batches": POSITIVE_OR_NULL, "data.module.batch_size": POSITIVE,
    "data.module.device_batch_size": POSITIVE_OR_NULL, "data.module.eval_batch_size": POSITIVE,
    "data.module.num_workers": COUNT, "data.shortest": POSITIVE_OR_NULL, "data.longest": POSITIVE_OR_NULL,
    "data.tuning_images": COUNT,
}  # fmt: skip
CLIP: dict[str, Number | Switch] = {
    "seed": COUNT, "batch_size": POSITIVE, "lr": NOT_NEGATIVE, "weight_decay": NOT_NEGATIVE, "warmup": COUNT,
    "save_every": POSITIVE, "force": Switch(),
}  # fmt: skip


def check_training(cfg: Any) -> None:
    """Checks the numbers of conf/train.yaml and its groups.

    Raises:
        InputError: a type or a range is wrong; the message states the key.
    """
    check_values(cfg, TRAINING)
