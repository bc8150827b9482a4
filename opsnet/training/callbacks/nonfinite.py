"""Stops a training, or skips a step, whose gradients are not finite, before they reach the weights."""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from opsnet.training.callbacks.repeatable import moving_buffers
from opsnet.utils.errors import InputError
from opsnet.utils.files import atomic_path, write_json

log = logging.getLogger(__name__)

STOP, SKIP = "stop", "skip"
SAVED_BATCHES, SAVED_BYTES = 3, 2**30
"""Batches that a run saves at most, and bytes of each."""


class NonFiniteError(InputError):
    """A training step had a loss or gradients that are not finite."""


@dataclass(frozen=True)
class BadStep:
    """What is known about a step with gradients that are not finite.

    Attributes:
        step: number of the step, from 0.
        losses: of its batches on this process, in order; ``None``: not finite.
        image_ids: of the images of each of these batches.
        parts: weighted losses of the last batch by name, such as ``dice``.
        learning_rate: of the first group of parameters.
        gradient_norm: "nan" or "inf".
    """

    step: int
    losses: list[float | None]
    image_ids: list[list[str]]
    parts: dict[str, float | None]
    learning_rate: float
    gradient_norm: str

    def sentence(self) -> str:
        """The cause, with the losses and the images of the batches whose loss is not finite."""
        bad = [ids for loss, ids in zip(self.losses, self.image_ids, strict=True) if loss is None]
        images = ", ".join(i for ids in (bad or self.image_ids) for i in ids)
        what = "the loss is" if bad else "the loss is finite, but its gradients are"
        losses = ", ".join(f"{k} {'not finite' if v is None else format(v, '.4g')}" for k, v in self.parts.items())
        return (
            f"step {self.step}: {what} not finite (losses {losses}; gradient norm {self.gradient_norm}, learning rate "
            f"{self.learning_rate:g}, images {images})"
        )


class NonFiniteGradients(Callback):
    """Checks the gradients' norm before every optimizer step: one number per step is read from the device.

    Under DDP gradients are averaged over processes, so a NaN of one reaches all, and all decide alike. With
    ``precision=16-mixed``, PyTorch's gradient scaler searches its scale by steps with infinite gradients, and skips
    them itself; there the loss is checked.

    Args:
        mode: "stop": raise; the weights and the checkpoint written then are those before the step. "skip": leave the
            step out.
        limit: number of skipped steps after which the training stops.
        folder: of the run; receives ``nonfinite/step_N.json``, and the last batch of the step as ``step_N.pt``, which
            ``torch.load`` reads as a dictionary of tensors, numbers and text.
    """

    def __init__(self, *, mode: str, limit: int, folder: Path) -> None:
        if mode not in (STOP, SKIP):
            raise InputError(f"on_nonfinite={mode} is not known: give {STOP} or {SKIP}")
        self.mode, self.limit, self.folder = mode, limit, folder
        self.skipped = 0
        self._losses: list[Tensor] = []
        self._image_ids: list[list[str]] = []
        self._batch: Any = None

    def state_dict(self) -> dict[str, Any]:
        """The number of skipped steps, so that the limit holds across interruptions."""
        return {"skipped": self.skipped}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores the number of skipped steps."""
        self.skipped = int(state_dict["skipped"])

    def on_train_batch_start(self, trainer: L.Trainer, module: L.LightningModule, batch: Any, index: int) -> None:
        """Remembers the images of the step's batches."""
        if index % trainer.accumulate_grad_batches == 0:
            self._losses, self._image_ids = [], []
        parts = list(batch.values()) if isinstance(batch, dict) else [batch]
        self._image_ids.append([str(i) for part in parts for i in part.image_ids])
        self._batch = batch

    def on_before_backward(self, trainer: L.Trainer, module: L.LightningModule, loss: Tensor) -> None:
        """Remembers the loss, without waiting for its value."""
        self._losses.append(loss.detach())

    def on_before_optimizer_step(
        self, trainer: L.Trainer, module: L.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Stops or skips the step.

        Raises:
            NonFiniteError: its gradients are not finite, and steps are not skipped or too many were.
        """
        if getattr(trainer.precision_plugin, "scaler", None) is not None:
            norm = sum(float(loss) for loss in self._losses)
        else:
            gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
            norm = float(torch.nn.utils.get_total_norm(gradients)) if gradients else 0.0
        if math.isfinite(norm):
            return
        bad = self._describe(trainer, module, optimizer, norm)
        saved = self._save(bad)
        if self.mode == STOP:
            raise NonFiniteError(
                f"{bad.sentence()}. The weights are those before this step; {saved} has the step and its last batch. "
                "Train with a lower optim.optimizer.lr or trainer.precision=32-true, or leave such steps out with "
                "on_nonfinite=skip"
            )
        self._skip(module, optimizer, bad, saved)

    def cause(self, trainer: L.Trainer, module: L.LightningModule) -> NonFiniteError | None:
        """The error to report instead of one that NaN in the images or weights caused somewhere in the network."""
        images = self._images()
        if images is not None and not all(bool(image.isfinite().all()) for image in images):
            what = f"of the images {', '.join(self._image_ids[-1])}, one contains NaN or infinity: check the files"
        elif not all(bool(p.isfinite().all()) for p in module.parameters()):
            what = (
                "weights are not finite: continue from the last checkpoint with resume=auto, or train again, with a "
                "lower optim.optimizer.lr"
            )
        else:
            return None
        return NonFiniteError(f"step {trainer.global_step}: {what}")

    def _images(self) -> list[Tensor] | None:
        if self._batch is None:
            return None
        parts = list(self._batch.values()) if isinstance(self._batch, dict) else [self._batch]
        return [part.images for part in parts]

    def _skip(self, module: L.LightningModule, optimizer: torch.optim.Optimizer, bad: BadStep, saved: Path) -> None:
        self.skipped += 1
        if self.skipped > self.limit:
            raise NonFiniteError(
                f"{bad.sentence()}. {self.limit} such steps were skipped before (nonfinite_limit); details are in "
                f"{saved.parent}. Train with a lower optim.optimizer.lr or trainer.precision=32-true"
            )
        if not all(bool(buffer.isfinite().all()) for buffer in moving_buffers(module)):
            raise NonFiniteError(
                f"{bad.sentence()}. It cannot be skipped, because running statistics of norms are not finite either; "
                "continue from the last checkpoint with resume=auto and a lower optim.optimizer.lr"
            )
        optimizer.zero_grad(set_to_none=True)
        log.warning("%s: skipped (%d of at most %d)", bad.sentence(), self.skipped, self.limit)

    def _describe(
        self, trainer: L.Trainer, module: L.LightningModule, optimizer: torch.optim.Optimizer, norm: float
    ) -> BadStep:
        losses = [_finite(loss) for loss in self._losses]
        parts: Mapping[str, Tensor] = getattr(module, "last_losses", {})
        return BadStep(
            step=trainer.global_step,
            losses=losses,
            image_ids=self._image_ids[: len(losses)],
            parts={name: _finite(value) for name, value in parts.items()},
            learning_rate=float(optimizer.param_groups[0]["lr"]),
            gradient_norm=str(norm),
        )

    def _save(self, bad: BadStep) -> Path:
        """Writes the step, and its batch unless the folder has enough of them; returns the path without suffix."""
        path = self.folder / "nonfinite" / f"step_{bad.step}.json"
        batch = plain(self._batch)
        try:
            write_json(path, asdict(bad))
            if len(list(path.parent.glob("*.pt"))) < SAVED_BATCHES and size_of(batch) <= SAVED_BYTES:
                with atomic_path(path.with_suffix(".pt")) as temporary:
                    torch.save(batch, temporary)
        except (OSError, RuntimeError) as error:  # a full disk must not hide the cause
            log.warning("%s could not be written: %s", path, error)
        return path.with_suffix("")


def _finite(value: Tensor) -> float | None:
    number = float(value)
    return number if math.isfinite(number) else None


def plain(value: Any) -> Any:
    """Data classes as dictionaries and tensors on the CPU, which ``torch.load(weights_only=True)`` accepts."""
    if isinstance(value, Tensor):
        return value.detach().cpu()
    if dataclasses.is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    return value if isinstance(value, (int, float, str)) or value is None else str(value)


def size_of(value: Any) -> int:
    """Bytes of all tensors in what :func:`plain` returns."""
    if isinstance(value, Tensor):
        return value.numel() * value.element_size()
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return sum(size_of(part) for part in parts)
