"""What surrounds a training run: repeatable randomness, a checkpoint at every interruption, pictures in wandb."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback

log = logging.getLogger(__name__)


class SeedEveryStep(Callback):
    """Makes the random numbers of a training step a function of (seed, step, rank).

    A run that resumes at a step then draws what the uninterrupted run would have drawn there.
    """

    def __init__(self, *, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(self, trainer: L.Trainer, module: L.LightningModule, batch: Any, index: int) -> None:
        """Seeds torch for the step."""
        torch.manual_seed((self.seed * 1_000_003 + trainer.global_step) * 1_009 + trainer.global_rank)


class InterruptCheckpoint(Callback):
    """Writes ``last.ckpt`` when a run ends early, by Ctrl-C or an error, so that ``resume=auto`` goes on from there."""

    def __init__(self, *, folder: str | Path) -> None:
        self.folder = Path(folder)

    def on_exception(self, trainer: L.Trainer, module: L.LightningModule, exception: BaseException) -> None:
        """Saves at the last finished step."""
        # Saving is collective under DDP: after an error on one rank the others would wait for it forever.
        if trainer.global_step == 0 or (trainer.world_size > 1 and not isinstance(exception, KeyboardInterrupt)):
            return
        trainer.save_checkpoint(self.folder / "last.ckpt")  # Lightning renames a temporary file
        if trainer.is_global_zero:
            log.warning(
                "stopped at step %d; resume=auto goes on from %s", trainer.global_step, self.folder / "last.ckpt"
            )


class LogPictures(Callback):
    """Sends a few validation overlays to wandb; does nothing with other loggers."""

    def __init__(self, *, count: int = 4) -> None:
        self.count = count

    def on_validation_batch_end(
        self, trainer: L.Trainer, module: Any, outputs: Any, batch: Any, index: int, dataloader_idx: int = 0
    ) -> None:
        """Draws the first batch's pictures."""
        from lightning.pytorch.loggers import WandbLogger

        loggers = [logger for logger in trainer.loggers if isinstance(logger, WandbLogger)]
        if index or not loggers or trainer.sanity_checking:
            return
        from opsnet.reporting.overlays import draw_overlay

        bank = module.train_bank()
        maps = module.model.predict(
            batch, bank, bank, modulation=module.modulation, filtering=module.filtering, overlap=module.overlap
        )
        pictures = []
        for image, (h, w), prediction in list(zip(batch.images, batch.valid_sizes, maps, strict=True))[: self.count]:
            pixels = (image[:, :h, :w] * 255).byte().permute(1, 2, 0).cpu().numpy()
            pictures.append(draw_overlay(pixels, prediction, bank.names, scale=None))
        for logger in loggers:
            logger.log_image("val/predictions", pictures, step=trainer.global_step)
