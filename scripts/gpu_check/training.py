"""Some steps of ``opsnet-train experiment=opsnet_r50``, on one device and on all; Mask2Former's step beside them."""

from __future__ import annotations

import math
import time
from collections import Counter
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from scripts.benchmarks.untrained import random_targets
from scripts.gpu_check.data import configure
from scripts.gpu_check.measure import Setup, autocast, counted_syncs, describe_syncs, gib, one_ms, synchronize
from scripts.gpu_check.networks import random_peer
from scripts.gpu_check.report import Table

CLIP = 0.01
"""Norm at which the recipe clips gradients."""


class Steps(Callback):
    """Measures optimizer steps from end to end, with the waiting for data; changes nothing.

    The synchronisations of the last step are counted, so that step is not timed; neither are the first two, which
    compile kernels and allocate the optimizer's states.

    Attributes:
        seconds: of each step.
        waited: seconds between batches, of each step.
        losses: of the last batch of each step.
        syncs: synchronisations of the last step, by source line.
        peak: GiB allocated at most in the steps; ``None`` on a CPU.
        images: per step, on this process.
        same_weights: whether all processes have the same weights at the end.
    """

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.seconds: list[float] = []
        self.waited: list[float] = []
        self.losses: list[float] = []
        self.syncs: Counter[str] = Counter()
        self.peak: float | None = None
        self.images = 0
        self.same_weights = True
        self._counting = ExitStack()
        self._waited = self._step_began = self._batch_ended = 0.0

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Starts the clock."""
        if module.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        self._step_began = self._batch_ended = time.perf_counter()

    def on_train_batch_start(self, trainer: L.Trainer, module: L.LightningModule, batch: Any, index: int) -> None:
        """Adds the time since the last batch."""
        self._waited += time.perf_counter() - self._batch_ended
        if not self.seconds:
            self.images += len(batch.images)

    def on_train_batch_end(
        self, trainer: L.Trainer, module: L.LightningModule, outputs: Any, batch: Any, index: int
    ) -> None:
        """Ends a step after its last batch."""
        if (index + 1) % trainer.accumulate_grad_batches == 0:
            self._counting.close()
            synchronize(module.device.type)
            now = time.perf_counter()
            if module.device.type == "cuda":
                self.peak = torch.cuda.max_memory_allocated() / 2**30
            self.seconds.append(now - self._step_began)
            self.waited.append(self._waited)
            self.losses.append(float(outputs["loss"]) * trainer.accumulate_grad_batches)  # Lightning has divided by it
            if len(self.seconds) == self.steps - 1:
                self.syncs = self._counting.enter_context(counted_syncs(module.device.type))
            self._waited, self._step_began = 0.0, time.perf_counter()
        self._batch_ended = time.perf_counter()

    def on_train_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Compares the weights of all processes."""
        self._counting.close()
        sums = torch.stack([p.detach().double().sum() for p in module.parameters() if p.requires_grad])
        everywhere = trainer.strategy.all_gather(sums).view(-1, len(sums))
        self.same_weights = bool((everywhere == everywhere[:1]).all())

    @property
    def timed(self) -> slice:
        """The timed steps."""
        return slice(min(2, self.steps - 2), self.steps - 1)

    def mean(self, values: list[float]) -> float:
        """Mean over the timed steps."""
        own = values[self.timed]
        return sum(own) / len(own)


def train(setup: Setup, steps: int, images: int, *overrides: str) -> tuple[Steps, Any]:
    """Trains an epoch of ``steps`` steps of ``images`` images, with validation and checkpoints.

    Returns:
        The measurements and the Trainer.

    Raises:
        ArithmeticError: a loss or the validation's PQ is not finite.
        FileNotFoundError: no checkpoint was written.
    """
    from hydra.utils import instantiate

    from opsnet.training.recipe import plan_steps
    from opsnet.training.run import build_module, build_trainer, fit

    cfg = configure(setup, train=images * steps, val=2, overrides=[f"data.module.batch_size={images}", *overrides])
    L.seed_everything(cfg.seed, workers=True, verbose=False)
    data = instantiate(cfg.data.module, _convert_="object")
    data.prepare_data()
    data.setup("fit")
    module = build_module(cfg, data.datasets["train"].vocabulary, data.label_vocabulary)
    trainer = build_trainer(cfg, Path(cfg.output))
    print(plan_steps(cfg, trainer, data).sentence(), flush=True)
    measured = Steps(steps)
    trainer.callbacks.append(measured)
    fit(trainer, module, data, None)
    wrong = [
        value for value in (*measured.losses, float(trainer.callback_metrics["val/PQ"])) if not math.isfinite(value)
    ]
    if wrong or len(measured.losses) != steps:
        raise ArithmeticError(
            f"{len(measured.losses)} of {steps} steps, losses {measured.losses}, PQ {wrong or 'finite'}"
        )
    checkpoint = Path(cfg.output, "checkpoints", "last.ckpt")
    if trainer.is_global_zero and not checkpoint.is_file():
        raise FileNotFoundError(f"{checkpoint} was not written")
    return measured, trainer


def check_training(setup: Setup) -> list[Table]:
    """The training on one device, and Mask2Former's step with as many images."""
    columns = (
        "training", "images per step", "s per step", "of which between batches (s)", "first step (s)", "peak (GiB)",
        "synchronisations per step", "loss, first and last step",
    )  # fmt: skip
    table = Table("Training step", columns)
    table.measure("`opsnet-train experiment=opsnet_r50`", partial(_ours, setup, table))
    table.measure("Mask2Former of transformers", partial(_peer, setup, table))
    size = 64 if setup.quick else 1024
    table.notes.append(
        f"Random images in COCO's format, crops of {size} x {size}, 20 segments per image, random weights, bf16-mixed, "
        "gradients clipped, micro-batches of 2; one validation and checkpoint at the end. The time between batches is "
        "that of loading and moving data; Mask2Former's step has its data on the device and no frozen CLIP."
    )
    return [table]


def _ours(setup: Setup, table: Table) -> list[str]:
    measured = (train(setup, 4, 4) if setup.quick else train(setup, 8, 16))[0]
    syncs = "-"
    if setup.device == "cuda":
        table.notes.append(describe_syncs(measured.syncs, 1, "step of `opsnet-train`"))
        syncs = str(measured.syncs.total())
    return [
        str(measured.images), f"{measured.mean(measured.seconds):.2f}", f"{measured.mean(measured.waited):.2f}",
        f"{measured.seconds[0]:.1f}", gib(measured.peak), syncs,
        f"{measured.losses[0]:.1f}, {measured.losses[-1]:.1f}",
    ]  # fmt: skip


def _peer(setup: Setup, table: Table) -> list[str]:
    """Mask2Former's step with gradients clipped and AdamW, as its users train it."""
    size, batches = (64, 2) if setup.quick else (1024, 8)
    peer = (random_peer("small", 7) if setup.quick else random_peer("R50", 100)).train().to(setup.device)
    optimizer = torch.optim.AdamW(peer.parameters(), lr=1e-5)
    images = torch.randn(2, 3, size, size, device=setup.device)
    targets = random_targets(2, 20, size, 133, setup.device)
    masks = [m.float() for m in targets.masks]
    losses: list[Tensor] = []

    def step() -> None:
        for _ in range(batches):
            with autocast(setup.device, torch.bfloat16):
                loss = peer(images, mask_labels=masks, class_labels=list(targets.labels)).loss.sum() / batches
            loss.backward()
        losses.append(loss.detach() * batches)
        torch.nn.utils.clip_grad_norm_(peer.parameters(), CLIP)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    if setup.device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    times = [one_ms(step, setup.device) / 1000 for _ in range(2 if setup.quick else 4)]
    peak = torch.cuda.max_memory_allocated() / 2**30 if setup.device == "cuda" else None
    with counted_syncs(setup.device) as places:
        step()
    if setup.device == "cuda":
        table.notes.append(describe_syncs(places, 1, "step of transformers' Mask2Former", most=4))
    return [
        str(2 * batches), f"{sum(times[1:]) / len(times[1:]):.2f}", "-", f"{times[0]:.1f}", gib(peak),
        str(places.total()) if setup.device == "cuda" else "-", f"{float(losses[0]):.1f}, {float(losses[-1]):.1f}",
    ]  # fmt: skip


def check_ddp(setup: Setup) -> list[Table]:
    """The training on all devices; on a CPU, on two processes. Lightning starts this script once more per process."""
    devices = torch.cuda.device_count() if setup.device == "cuda" else 2
    columns = (
        "devices", "backend", "images per step and device", "s per step", "peak (GiB)", "loss, first and last step",
        "weights equal on all devices",
    )  # fmt: skip
    table = Table("Distributed training (`trainer=ddp`)", columns)
    table.measure(str(devices), partial(_ddp, setup, devices))
    return [table]


def _ddp(setup: Setup, devices: int) -> list[str]:
    images = (
        2 * devices * (1 if setup.quick else math.ceil(8 / devices))
    )  # 16 on one to eight devices, if they divide it
    measured, trainer = train(setup, 4, images, "trainer=ddp", f"trainer.devices={devices}")
    backend = torch.distributed.get_backend()
    if trainer.world_size != devices or not measured.same_weights:
        raise RuntimeError(f"{trainer.world_size} of {devices} processes, equal weights: {measured.same_weights}")
    return [
        backend, str(measured.images), f"{measured.mean(measured.seconds):.2f}", gib(measured.peak),
        f"{measured.losses[0]:.1f}, {measured.losses[-1]:.1f}", "yes",
    ]  # fmt: skip
