"""An exponential moving average of the weights, which is validated, stored beside them, and used for inference."""

from __future__ import annotations

from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from opsnet.checkpoint.content import AVERAGE, trained_weights


class WeightAverage(Callback):
    """Averages the weights after every optimizer step, in float32 and on their device.

    After step t (from 1) the average is ``d * average + (1 - d) * weights``, d = min(decay, (1 + t) / (10 + t)). This
    is TensorFlow's rule; the random weights of the beginning do not stay in a short training's average. Running
    statistics of norms are averaged too; counters are not. CLIP is frozen and not copied. No process communicates:
    under DDP all have the same weights.

    Validations, probes and so ``best.ckpt`` see the average. A checkpoint has the weights with which the training
    continues as usual, and the average under its own key (:func:`opsnet.checkpoint.content.inference_weights`).

    Lightning's ``EMAWeightAveraging`` copies CLIP too, rounds averaged integers down, stores the average in place of
    the weights, and leaves it in the network when a validation is interrupted.

    Args:
        decay: share of the average that stays at each step, in 0..1.
    """

    def __init__(self, *, decay: float) -> None:
        self.decay = decay
        self.average: dict[str, Tensor] = {}
        self._step = 0
        self._loaded: dict[str, Any] | None = None
        self._weights: dict[str, Tensor] = {}  # those of the module, which are updated in place
        self._set_aside: dict[str, Tensor] = {}  # copies of them while the module has the average

    def on_fit_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Starts with the stored average of a resumed run, else with the weights."""
        stored = trained_weights(module.state_dict())
        self._weights = {name: value for name, value in stored.items() if value.is_floating_point()}
        loaded = self._loaded["weights"] if self._loaded else {}
        self._step = self._loaded["step"] if self._loaded else trainer.global_step
        self.average = {
            name: loaded.get(name, value).detach().to(value.device, torch.float32, copy=True)
            for name, value in self._weights.items()
        }
        self._loaded = None

    def on_train_batch_end(
        self, trainer: L.Trainer, module: L.LightningModule, outputs: Any, batch: Any, index: int
    ) -> None:
        """Updates the average if the batch completed a step."""
        self._update(trainer.global_step)

    @torch.no_grad()
    def _update(self, step: int) -> None:
        if step <= self._step:
            return
        decay = min(self.decay, (1 + step) / (10 + step))
        current = [value.detach().float() for value in self._weights.values()]
        get_ema_multi_avg_fn(decay)(list(self.average.values()), current, step)
        self._step = step

    @torch.no_grad()
    def on_validation_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Puts the average into the network."""
        self._set_aside = {name: value.detach().clone() for name, value in self._weights.items()}
        for name, value in self._weights.items():
            value.copy_(self.average[name])

    @torch.no_grad()
    def on_validation_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Puts the weights back; checkpoints of this validation are written later."""
        for name, value in self._set_aside.items():
            self._weights[name].copy_(value)
        self._set_aside = {}

    def on_exception(self, trainer: L.Trainer, module: L.LightningModule, exception: BaseException) -> None:
        """Completes an interrupted step, before InterruptCheckpoint saves."""
        if self._weights:
            self.on_validation_end(trainer, module)
            self._update(trainer.global_step)

    def on_save_checkpoint(self, trainer: L.Trainer, module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Adds the average."""
        checkpoint[AVERAGE] = {"decay": self.decay, "step": self._step, "weights": dict(self.average)}

    def on_load_checkpoint(self, trainer: L.Trainer, module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Takes the average from the checkpoint; one without it starts an average from its weights."""
        self._loaded = checkpoint.get(AVERAGE)
