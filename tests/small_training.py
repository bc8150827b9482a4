"""Overrides of conf/train.yaml for a training that takes seconds."""

from __future__ import annotations

COUNTS = {"train": 32, "val": 8, "test": 8, "labels": 8}
"""Images of the drawn world."""

SMALL = (
    "data.module.batch_size=8",
    "model.query_decoder.queries=8",
    "matching.points=64",
    "optim.scheduler.warmup=2",
    "trainer.accelerator=cpu",
    "trainer.max_epochs=2",
    "trainer.check_val_every_n_epoch=1",
    "trainer.log_every_n_steps=1",
    "trainer.enable_progress_bar=false",
)
