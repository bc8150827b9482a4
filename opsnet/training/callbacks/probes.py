"""PQ on unseen domains during training, which shows forgetting, and early stopping on one of them."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from itertools import islice
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback, EarlyStopping
from omegaconf import DictConfig

from opsnet.data.datamodule import PanopticDataModule
from opsnet.data.loaders import EvaluationLoader
from opsnet.metrics.panoptic_quality import PanopticQuality
from opsnet.training.callbacks.stop_signals import stop_if_asked
from opsnet.utils.errors import InputError

MEASURES = ("PQ", "PQth", "PQst")


class DomainProbes(Callback):
    """Logs ``probe/<domain>/PQ``, ``PQth`` and ``PQst`` at validations.

    They are part of the validation: a run that is interrupted during a probe repeats the whole validation.

    Args:
        domains: test domains of the data module.
        every: epochs between two probes; ``None``: at every validation.
        limit: images per domain, rounded up to whole batches; ``None``: all.
    """

    def __init__(self, *, domains: Sequence[str], every: int | None = None, limit: int | None = None) -> None:
        self.domains, self.every, self.limit = tuple(domains), every, limit
        self._loaders: list[EvaluationLoader] = []
        self._qualities: list[PanopticQuality] = []
        self._vocabularies: list[Any] = []

    def due(self, trainer: L.Trainer) -> bool:
        """Whether this validation has probes."""
        return not trainer.sanity_checking and (trainer.current_epoch + 1) % (self.every or 1) == 0

    def setup(self, trainer: L.Trainer, module: L.LightningModule, stage: str) -> None:
        """Builds the datasets of the probed domains before training starts."""
        if self._loaders:
            return
        own: Any = trainer.datamodule  # type: ignore[attr-defined]
        data = PanopticDataModule(
            test={name: own.builders[f"test/{name}"] for name in self.domains},
            batch_size=own.batch_size,
            eval_batch_size=own.eval_batch_size,
            num_workers=own.num_workers,
            size_divisor=own.size_divisor,
            check_files=own.check_files,
        )
        data.setup("test")
        self._loaders = data.test_dataloader()
        self._vocabularies = [data.datasets[f"test/{name}"].vocabulary for name in self.domains]
        self._qualities = [PanopticQuality(is_thing=v.is_thing) for v in self._vocabularies]

    def on_validation_epoch_end(self, trainer: L.Trainer, module: Any) -> None:
        """Scores every domain; the model is in evaluation mode and draws no random numbers."""
        if not self.due(trainer):
            return
        for name, loader, vocabulary, quality in zip(
            self.domains, self._loaders, self._vocabularies, self._qualities, strict=True
        ):
            results = self._score(trainer, module, loader, vocabulary, quality.to(module.device))
            module.log_dict({f"probe/{name}/{key}": results[key] for key in MEASURES})

    def _score(
        self, trainer: L.Trainer, module: Any, loader: EvaluationLoader, vocabulary: Any, quality: PanopticQuality
    ) -> dict[str, float]:
        """Averages of one domain over all ranks."""
        quality.reset()  # removes the counts of an interrupted probe
        for batch in islice(loader, self._batches(trainer)):
            stop_if_asked(trainer)
            with trainer.precision_plugin.val_step_context():
                maps = module.predict_maps(batch.to(module.device), vocabulary)
            for prediction, truth in zip(maps, batch.panoptic, strict=True):
                quality.update(prediction, truth)
        return quality.compute()

    def _batches(self, trainer: L.Trainer) -> int | None:
        """Maximum number of batches per process."""
        if self.limit is None:
            return None
        size: int = trainer.datamodule.eval_batch_size  # type: ignore[attr-defined]
        return math.ceil(self.limit / (size * trainer.world_size))


class StopOnProbe(EarlyStopping):
    """Stops the training when a domain's PQ has not improved for ``patience`` probes.

    Validations without probes do not count, because they would see the last probe's PQ again.
    """

    def __init__(self, probes: DomainProbes, domain: str, *, patience: int = 3) -> None:
        super().__init__(f"probe/{domain}/PQ", patience=patience, mode="max", check_on_train_epoch_end=False)
        self._probes = probes

    def on_fit_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Keeps a training stopped if it is resumed after it was stopped."""
        if self.wait_count >= self.patience:
            trainer.should_stop = True

    def on_validation_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Checks PQ if this validation had probes."""
        if self._probes.due(trainer):
            super().on_validation_end(trainer, module)


def probe_callbacks(probes: DictConfig, known: Collection[str], check_every: int | None = 1) -> list[Callback]:
    """The callbacks of ``probes`` in conf/train.yaml; none without domains.

    Args:
        probes: ``domains``, ``every``, ``limit``, ``stop`` and ``patience``.
        known: test domains of the data.
        check_every: epochs between two validations; ``None``: validations are scheduled by steps.

    Raises:
        InputError: a domain is unknown, or a number is out of range.
    """
    _check(probes, known, check_every)
    if not probes.domains:
        return []
    callback = DomainProbes(domains=probes.domains, every=probes.every, limit=probes.limit)
    if probes.stop is None:
        return [callback]
    return [callback, StopOnProbe(callback, probes.stop, patience=probes.patience)]


def _check(probes: DictConfig, known: Collection[str], check_every: int | None) -> None:
    if isinstance(probes.domains, str):
        raise InputError(f"probes.domains must be a list, got '{probes.domains}': give [{probes.domains}]")
    for name in probes.domains:
        if name not in known:
            raise InputError(
                f"probes.domains: there is no test domain '{name}': choose from data.module.test "
                f"({', '.join(known) or 'none'})"
            )
    if probes.stop is not None and probes.stop not in probes.domains:
        raise InputError(f"probes.stop={probes.stop} is not probed: add it to probes.domains")
    for key in ("every", "limit", "patience"):
        if probes[key] is not None and probes[key] < 1:
            raise InputError(f"probes.{key} must be at least 1, got {probes[key]}")
    if probes.every is not None and probes.every % (check_every or 1):
        raise InputError(
            f"probes.every={probes.every} must be a multiple of trainer.check_val_every_n_epoch={check_every}, "
            "because probes are part of a validation; or null for every one"
        )
