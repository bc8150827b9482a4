"""OPSNetModule: the model, its losses and its metrics as a LightningModule."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lightning as L
import torch
from torch import Tensor

from opsnet.checkpoint.content import add_content, frozen_weights, renamed_weights
from opsnet.checkpoint.reading import check_clip_hash
from opsnet.inference.names import NameCache
from opsnet.inference.segment import predict
from opsnet.losses.context import ImageLabelContext, SegmentContext, image_label_context, segment_context
from opsnet.losses.mask_sum import mask_sum_loss
from opsnet.losses.matching import HungarianMatcher
from opsnet.losses.point_sampling import StepSeeds
from opsnet.losses.weighted_sum import TOTAL, Losses
from opsnet.metrics.panoptic_quality import PanopticQuality
from opsnet.model import OPSNet
from opsnet.ops.deformable_sampling import working_kernel
from opsnet.panoptic.mask_filtering import MaskFiltering
from opsnet.recognition.recognizer import Recognizer
from opsnet.structures import UNNAMED, Batch, ImageLabels, PanopticMap, SegmentTargets, TextBank
from opsnet.utils.seeding import mix_seed
from opsnet.vocabulary import Vocabulary


class OPSNetModule(L.LightningModule):
    """Trains OPSNet on one panoptic vocabulary, optionally with image labels, and validates it on that vocabulary.

    Args:
        model: OPSNet.
        losses: losses for batches with segments and, for OPSNet+, with image labels.
        matcher: matches proposals to segments.
        recognizer, filtering, overlap: inference settings of the validation PQ.
        train_vocabulary: names that the queries learn.
        optimizer: builder; receives the model.
        scheduler: builder; receives the optimizer and ``total_steps``.
        seed: seed of the points at which masks are compared.
        data_vocabulary: names of the training data; default: ``train_vocabulary``. Names that only the data has are
            held out: the network learns their masks, but not the names.
        recognizer_multiplier: learning rate of a learned recognizer, as a multiple of the optimizer's.
        config: configuration with which ``opsnet-evaluate`` builds the same model; stored in the checkpoint.
        label_vocabulary: names of the image labels (OPSNet+).
    """

    def __init__(
        self,
        *,
        model: OPSNet,
        losses: Losses,
        matcher: HungarianMatcher,
        recognizer: Recognizer,
        filtering: MaskFiltering,
        train_vocabulary: Vocabulary,
        optimizer: Callable[..., torch.optim.Optimizer],
        scheduler: Callable[..., Any],
        overlap: float = 0.8,
        seed: int = 0,
        config: dict[str, Any] | None = None,
        label_vocabulary: Vocabulary | None = None,
        data_vocabulary: Vocabulary | None = None,
        recognizer_multiplier: float = 10.0,
    ) -> None:
        super().__init__()
        self.model, self.losses, self.matcher = model, losses, matcher
        self.recognizer, self.filtering, self.overlap = recognizer, filtering, overlap
        self.seed = seed
        self.build_optimizer, self.build_scheduler = optimizer, scheduler
        self.config = config or {}
        self.train_vocabulary, self.label_vocabulary = train_vocabulary, label_vocabulary
        self.data_vocabulary, self.recognizer_multiplier = data_vocabulary or train_vocabulary, recognizer_multiplier
        self.register_buffer("learned", _learned(self.data_vocabulary, train_vocabulary), persistent=False)
        self.quality = PanopticQuality(is_thing=self.data_vocabulary.is_thing)
        self.names = NameCache(model, train_vocabulary)
        self._step_metrics: list[Tensor] = []
        self.last_losses: dict[str, Tensor] = {}  # of the last batch by name, for messages

    learned: Tensor | None

    def on_fit_start(self) -> None:
        """Checks before the first step that the CUDA kernels of the training work."""
        if self.device.type == "cuda":
            working_kernel(str(self.device))

    def train_bank(self) -> TextBank:
        """The text bank of the training names, on the module's device."""
        return self.names.train_bank()

    def training_step(self, batch: Batch | dict[str, Batch], batch_index: int) -> Tensor:
        """One batch, or one of each kind -> the sum of the losses, which depend on the type of a batch's targets."""
        total = torch.zeros((), device=self.device)
        named: dict[str, Tensor] = {}
        for part in list(batch.values()) if isinstance(batch, dict) else [batch]:
            losses, metrics = self._losses(part)
            total = total + losses.pop(TOTAL)
            self.last_losses = {**self.last_losses, **{k: v.detach() for k, v in losses.items()}}
            named |= {f"train/{k}": v.detach() for k, v in {**losses, **metrics}.items()}
        self._log_step({**named, "train/loss": total.detach()}, batch_index)
        return total

    def _log_step(self, metrics: dict[str, Tensor], batch_index: int) -> None:
        """Logs means over the batches of a step and over processes, with a single reduction for all metrics."""
        trainer = self._trainer  # None in tests of a single step
        accumulate, last = (trainer.accumulate_grad_batches, trainer.num_training_batches) if trainer else (1, 1)
        if batch_index % accumulate == 0:
            self._step_metrics = []
        self._step_metrics.append(torch.stack([value.float() for value in metrics.values()]))
        if (batch_index + 1) % accumulate and batch_index + 1 < last:
            return
        means = torch.stack(self._step_metrics).mean(0)
        if trainer is not None:
            means = trainer.strategy.reduce(means, reduce_op="mean")
        logged = dict(zip(metrics, means, strict=True))
        self.log("train/loss", logged.pop("train/loss"), prog_bar=True, batch_size=1)
        self.log_dict(logged, batch_size=1)

    def _losses(self, batch: Batch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Weighted losses, including their sum :data:`TOTAL`, and metrics."""
        if not self.losses.of(type(batch.targets)):
            raise TypeError(f"no loss is configured for batches with {type(batch.targets).__name__}")
        context = self._context(batch)
        losses: dict[str, Tensor] = self.losses(context)
        with torch.no_grad():
            metrics = self.losses.metrics(context)
            if isinstance(context, ImageLabelContext):  # how far the masks are from a partition of the image
                metrics["layout_error"] = mask_sum_loss(context.proposals.mask_logits.float(), context.inside)
        return losses, metrics

    def _context(self, batch: Batch) -> SegmentContext | ImageLabelContext:
        """The context from which the losses of a batch are computed."""
        if isinstance(batch.targets, SegmentTargets):
            seeds = StepSeeds.of(self.seed, self.global_step, batch.image_ids)
            return segment_context(
                batch, model=self.model, recognizer=self.recognizer, names=self.names.prepared(self.data_vocabulary),
                matcher=self.matcher, seeds=seeds, learned=self.learned,
            )  # fmt: skip
        assert isinstance(batch.targets, ImageLabels) and self.label_vocabulary is not None
        return image_label_context(
            batch, model=self.model, recognizer=self.recognizer, names=self.names.prepared(self.label_vocabulary),
            seed=mix_seed(self.seed, self.global_step),
        )  # fmt: skip

    def predict_maps(self, batch: Batch, vocabulary: Vocabulary | None = None) -> list[PanopticMap]:
        """Panoptic maps of a batch as in validation, by default with the names of the training data."""
        names = self.names.prepared(vocabulary or self.data_vocabulary)
        return predict(
            self.model, batch, names, recognizer=self.recognizer, filtering=self.filtering, overlap=self.overlap
        )

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        """Scores one batch of the training domain."""
        for prediction, truth in zip(self.predict_maps(batch), batch.panoptic, strict=True):
            self.quality.update(prediction, truth)

    def on_validation_epoch_end(self) -> None:
        """Logs PQ and its parts, summed over ranks."""
        results = self.quality.compute()
        self.quality.reset()
        self.log_dict({f"val/{k}": v for k, v in results.items()}, prog_bar=False)

    def configure_optimizers(self) -> Any:
        """Optimizer and scheduler in Lightning's format; the scheduler counts steps."""
        optimizer = self.build_optimizer(self.model)
        rate = optimizer.defaults["lr"]
        for module, multiplier in ((self.recognizer, self.recognizer_multiplier), (self.losses, 1.0)):
            if parameters := [p for p in module.parameters() if p.requires_grad]:
                optimizer.add_param_group({"params": parameters, "lr": multiplier * rate, "weight_decay": 0.0})
        scheduler = self.build_scheduler(optimizer, total_steps=int(self.trainer.estimated_stepping_batches))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds OPSNet's content, see :mod:`opsnet.checkpoint.content`."""
        add_content(checkpoint, self.model.clip.weights_hash, self.config)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Checks that CLIP is the one of the training, and adds its frozen weights, which checkpoints do not have."""
        check_clip_hash(checkpoint, self.model.clip.weights_hash, "the checkpoint to resume from")
        checkpoint["state_dict"] = {**renamed_weights(checkpoint["state_dict"]), **frozen_weights(self.state_dict())}


def _learned(data: Vocabulary, train: Vocabulary) -> Tensor | None:
    """(M,) int64: index of each data name in the training vocabulary; ``None`` if no names are held out."""
    if data == train:
        return None
    places = {name: i for i, name in enumerate(train.names)}
    return torch.tensor([places.get(name, UNNAMED) for name in data.names])
