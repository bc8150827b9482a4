"""Logs validation images to wandb: overlays, and masks that its viewer can toggle by class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import lightning as L
import numpy as np
import torch.nn.functional as F
from lightning.pytorch.callbacks import Callback
from numpy.typing import NDArray

from opsnet.structures import Batch, GroundTruth, PanopticMap

OTHER = 127
"""The largest class number, because wandb stores masks as signed bytes."""


class LogImages(Callback):
    """Logs a few validation images to wandb; does nothing for other loggers.

    ``val/predictions`` are overlays with the name of every segment; ``val/panoptic`` are the images with ground truth
    and prediction as masks with class labels.
    """

    def __init__(self, *, count: int = 4) -> None:
        self.count = count

    def on_validation_batch_end(
        self, trainer: L.Trainer, module: Any, outputs: Any, batch: Any, index: int, dataloader_idx: int = 0
    ) -> None:
        """Logs the images of the first batch."""
        from lightning.pytorch.loggers import WandbLogger

        loggers = [logger for logger in trainer.loggers if isinstance(logger, WandbLogger)]
        if index or not loggers or trainer.sanity_checking:
            return
        from opsnet.visualization.overlays import draw_overlay

        names = module.data_vocabulary.names
        maps = module.predict_maps(batch)[: self.count]
        images = [original_image(batch, i) for i in range(len(maps))]
        overlays = [draw_overlay(p, m, names, scale=None) for p, m in zip(images, maps, strict=True)]
        masks = class_masks(batch.panoptic[: self.count], maps, names)
        for logger in loggers:
            logger.log_image("val/predictions", overlays, step=trainer.global_step)
            logger.log_image("val/panoptic", images, step=trainer.global_step, masks=masks)


def original_image(batch: Batch, index: int) -> NDArray[np.uint8]:
    """One image of a batch without padding, resized to the size of its map, (H, W, 3) uint8 RGB."""
    (height, width), size = batch.valid_sizes[index], batch.map_sizes[index]
    image = batch.images[index, :, :height, :width].float()
    if size != (height, width):
        image = F.interpolate(image[None], size=size, mode="bilinear", antialias=True)[0]
    pixels: NDArray[np.uint8] = (image * 255).clamp(0, 255).byte().permute(1, 2, 0).cpu().numpy()
    return pixels


def class_masks(
    truths: Sequence[GroundTruth], predictions: Sequence[PanopticMap], names: Sequence[str]
) -> list[dict[str, dict[str, Any]]]:
    """Ground truth and prediction of each image in the format of ``wandb.Image(masks=...)``.

    wandb has one legend per run, so a class must have the same number at every validation: the classes of the ground
    truth come first, then the rest of the vocabulary up to the largest number; the remaining classes are ``other``.

    Args:
        truths, predictions: one map (H, W) per image.
        names: the vocabulary of both.
    """
    labels = [*sorted({s.label for truth in truths for s in truth.segments if not s.is_crowd}), *range(len(names))]
    numbers = {label: i for i, label in enumerate(list(dict.fromkeys(labels))[: OTHER - 1], start=1)}
    legend = {0: "void", **{number: names[label] for label, number in numbers.items()}}
    if len(numbers) < len(names):
        legend[OTHER] = "other"
    return [
        {
            key: {"mask_data": _numbered(panoptic, numbers), "class_labels": legend}
            for key, panoptic in (("ground_truth", truth), ("prediction", prediction))
        }
        for truth, prediction in zip(truths, predictions, strict=True)
    ]


def _numbered(panoptic: PanopticMap | GroundTruth, numbers: Mapping[int, int]) -> np.ndarray:
    """The class number of each pixel, (H, W) uint8; 0 for void."""
    ids = panoptic.ids.cpu().numpy()
    drawn = np.zeros(ids.shape, dtype=np.uint8)
    for segment in panoptic.segments:
        if not segment.is_crowd:
            drawn[ids == segment.id] = numbers.get(segment.label, OTHER)
    return drawn
