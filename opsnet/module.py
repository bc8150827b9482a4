"""OPSNetModule: the model, its losses and its metrics, as Lightning runs them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lightning as L
import torch
from torch import Tensor

from opsnet.clip.loading import check_clip_hash
from opsnet.losses.criterion import LayerPredictions, PanopticCriterion
from opsnet.losses.point_sampling import StepSeeds
from opsnet.metrics.panoptic_quality import PanopticQuality
from opsnet.model import Modulation, OPSNet
from opsnet.panoptic.mask_filtering import MaskFiltering
from opsnet.structures import Batch, SegmentTargets, TextBank
from opsnet.vocabulary import Vocabulary

CLIP_PREFIX = "model.clip."


class OPSNetModule(L.LightningModule):
    """Trains OPSNet on one panoptic vocabulary and validates it on the same.

    Args:
        model: OPSNet.
        criterion: losses.
        modulation, filtering, overlap: inference, for the validation PQ.
        train_vocabulary: names of the training data.
        optimizer: builder; receives the model.
        scheduler: builder; receives the optimizer and ``total_steps``.
        seed: of the points at which masks are compared.
        config: what ``opsnet-evaluate`` needs to build the same model again; kept in the checkpoint.
    """

    def __init__(
        self,
        *,
        model: OPSNet,
        criterion: PanopticCriterion,
        modulation: Modulation,
        filtering: MaskFiltering,
        train_vocabulary: Vocabulary,
        optimizer: Callable[..., torch.optim.Optimizer],
        scheduler: Callable[..., Any],
        overlap: float = 0.8,
        seed: int = 0,
        config: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.model, self.criterion = model, criterion
        self.modulation, self.filtering, self.overlap = modulation, filtering, overlap
        self.seed = seed
        self.build_optimizer, self.build_scheduler = optimizer, scheduler
        self.config = config or {}
        self.train_vocabulary = train_vocabulary
        self.quality = PanopticQuality(is_thing=train_vocabulary.is_thing)
        self._bank: TextBank | None = None

    def train_bank(self) -> TextBank:
        """The training names on the module's device."""
        if self._bank is None or self._bank.embeds.device != self.device:
            self._bank = self.model.clip.text_encoder(self.train_vocabulary).to(self.device)
        return self._bank

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """One panoptic batch -> the sum of its losses."""
        if not isinstance(batch.targets, SegmentTargets):
            raise TypeError(f"a panoptic batch carries SegmentTargets, got {type(batch.targets).__name__}")
        proposals, _ = self.model(batch.images)
        assert proposals.supervision is not None
        layers = [
            LayerPredictions(self.model.training_logits(q, self.train_bank()), q.mask_embeds, q.iou)
            for q in proposals.supervision.layers
        ]
        seeds = StepSeeds.of(self.seed, self.global_step, batch.image_ids)
        losses = self.criterion(layers, proposals.supervision.pixels, batch.targets, seeds)
        how = {"batch_size": len(batch.images), "sync_dist": True}
        self.log_dict({f"train/{k}": v for k, v in losses.items() if k != "loss"}, **how)
        self.log("train/loss", losses["loss"], prog_bar=True, **how)
        return losses["loss"]

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        """Scores one batch of the training domain."""
        bank = self.train_bank()
        maps = self.model.predict(
            batch, bank, bank, modulation=self.modulation, filtering=self.filtering, overlap=self.overlap
        )
        for prediction, truth in zip(maps, batch.panoptic, strict=True):
            self.quality.update(prediction, truth)

    def on_validation_epoch_end(self) -> None:
        """Logs PQ and its parts, summed over ranks."""
        results = self.quality.compute()
        self.quality.reset()
        self.log_dict({f"val/{k}": v for k, v in results.items()}, prog_bar=False)

    def configure_optimizers(self) -> Any:
        """Lightning's form of optimizer and schedule; the schedule counts steps."""
        optimizer = self.build_optimizer(self.model)
        scheduler = self.build_scheduler(optimizer, total_steps=int(self.trainer.estimated_stepping_batches))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Leaves CLIP's frozen weights out; their hash and the model's configuration go in."""
        state = checkpoint["state_dict"]
        checkpoint["state_dict"] = {k: v for k, v in state.items() if not k.startswith(CLIP_PREFIX)}
        checkpoint["opsnet"] = {"clip_hash": self.model.clip.weights_hash, "config": self.config}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Puts CLIP's own weights back in place, after making sure that they are the ones trained with."""
        check_clip_hash(checkpoint, self.model.clip.weights_hash, "the checkpoint to resume from")
        own = {k: v for k, v in self.state_dict().items() if k.startswith(CLIP_PREFIX)}
        checkpoint["state_dict"] = {**checkpoint["state_dict"], **own}
