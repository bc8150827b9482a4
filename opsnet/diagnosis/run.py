"""The sequence of a rehearsal: checks without a network, the data, the networks, then the steps."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from opsnet.diagnosis.checklist import Checklist
from opsnet.diagnosis.command import FOLDER
from opsnet.diagnosis.disk import COPIES, check_folder, check_space, existing_parent, free_bytes
from opsnet.diagnosis.networks import check_activation, check_weights, checkpoint_bytes, count_parameters
from opsnet.diagnosis.pace import Estimate, check_loading, check_memory, estimate
from opsnet.diagnosis.plan import Devices, check_devices, plan_run, warmup_of
from opsnet.diagnosis.report import print_run, print_verdict, show
from opsnet.diagnosis.sets import OpenedSets, open_sets, read_batches
from opsnet.diagnosis.step import shortened, take_steps
from opsnet.diagnosis.watch import StepMeasurements
from opsnet.training.recipe import StepPlan


@dataclass(frozen=True)
class Prepared:
    """The outcome of the checks before the first step.

    Attributes:
        devices, sets: see ``Devices`` and ``OpenedSets``.
        plan: the training's plan; ``None`` if there is none.
        loading: seconds per training batch for one worker.
        module: the LightningModule; ``None`` if it could not be built.
        resume: checkpoint to resume from.
        folder_ok: whether checkpoints can be written to the run's folder.
    """

    devices: Devices
    sets: OpenedSets
    plan: StepPlan | None
    loading: float
    module: Any
    resume: Path | None
    folder_ok: bool


def rehearse(cfg: DictConfig, target: Path) -> int:
    """Rehearses a training and prints the results.

    Args:
        cfg: conf/train.yaml.
        target: the training's output folder.

    Returns:
        The number of failures.
    """
    is_main = os.environ.get("LOCAL_RANK", "0") == "0"
    checklist = Checklist(show=show if is_main else lambda result: None)
    measured, estimated = None, None
    with _quiet():
        prepared = prepare(cfg, target, checklist)
        if prepared.sets.usable and prepared.plan is not None and prepared.module is not None:
            measured = _take_steps(cfg, target, prepared, checklist)
    if measured is not None:
        estimated = _estimate(cfg, prepared, measured)
        check_loading(estimated, prepared.loading, prepared.sets.data.num_workers, prepared.devices, checklist)
        check_memory(measured, checklist)
    if is_main:
        parameters = count_parameters(prepared.module.model) if prepared.module is not None else {}
        print_run(prepared.plan, warmup_of(cfg), prepared.sets.images("train"), parameters, measured, estimated)
        print_verdict(checklist)
    return len(checklist.of("failure"))


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppresses warnings of libraries, which the training shows.

    Also suppresses our message about a checkpoint to resume from, which is removed with the rehearsal's folder.
    """
    ours = logging.getLogger("opsnet.training.callbacks")
    level = ours.level
    ours.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        ours.setLevel(level)


def prepare(cfg: DictConfig, target: Path, checklist: Checklist) -> Prepared:
    """Runs every check that needs no optimizer step, and builds the networks as training does.

    Args:
        cfg: conf/train.yaml.
        target: the training's output folder.
        checklist: receives the results.
    """
    import lightning as L

    from opsnet.training.loss_checks import check_losses
    from opsnet.training.resume import find_resume

    devices = check_devices(cfg.trainer, checklist)
    folder_ok = check_folder(target, checklist)
    resume = None
    with checklist.failing("resume"):
        resume = find_resume(cfg)
    L.seed_everything(cfg.seed, workers=True, verbose=False)
    sets = open_sets(cfg, checklist)
    plan, loading = None, 0.0
    if sets.data is not None:
        plan = plan_run(cfg, devices, sets.data, sets.images("train"), checklist)
    if plan is not None:
        loading = read_batches(sets, _shares(plan), checklist)
    if sets.usable:
        with checklist.failing("losses"):
            check_losses(cfg, sets.data)
    module = _build(cfg, sets, resume, checklist)
    if module is not None:
        folder_ok = check_space(target, checkpoint_bytes(module.model), checklist) and folder_ok
    return Prepared(devices, sets, plan, loading, module, resume, folder_ok)


def _shares(plan: StepPlan) -> dict[str, int]:
    """Images per device and batch, by training set."""
    sets = {"batch_size": "train", "label_batch_size": "train_labels"}
    return {sets[key]: total // (plan.devices * plan.accumulate) for key, total in plan.totals.items()}


def _build(cfg: DictConfig, sets: OpenedSets, resume: Path | None, checklist: Checklist) -> Any:
    """The LightningModule; if the sets could not be read, with the vocabularies named by the configuration."""
    from opsnet.checkpoint.loading import check_resume
    from opsnet.training.initial import with_initial_clip
    from opsnet.training.run import build_module

    module = None
    with checklist.failing("networks"):
        vocabulary, labels = _vocabulary(cfg, sets, "train"), _vocabulary(cfg, sets, "labels")
        if vocabulary is None:
            return None
        module = build_module(with_initial_clip(cfg), vocabulary, labels)
    if module is None:
        return None
    check_weights(cfg, module.model, checklist)
    check_activation(cfg.clip, module.model.clip.text_encoder.clip, checklist)
    with checklist.failing("resume"):
        if resume is not None:
            check_resume(resume, module.model.clip.weights_hash, 1 + (labels is not None), module.state_dict())
            checklist.ok("resume", f"from {resume}")
    return module


def _vocabulary(cfg: DictConfig, sets: OpenedSets, key: str) -> Any:
    """The vocabulary of a training set, read or only configured; ``None`` if there is none."""
    from opsnet.vocabulary import Vocabulary

    name = {"labels": "train_labels"}.get(key, key)
    if sets.data is not None and name in sets.data.datasets:
        return sets.data.datasets[name].vocabulary
    described = OmegaConf.select(cfg, f"data.module.{key}.vocabulary")
    return None if described is None else Vocabulary.load(described)


def _take_steps(cfg: DictConfig, target: Path, prepared: Prepared, checklist: Checklist) -> StepMeasurements | None:
    """Takes the steps in a folder next to the target, or elsewhere if there is not enough space for checkpoints."""
    parent = existing_parent(target.absolute()) if prepared.folder_ok else Path(tempfile.gettempdir())
    if not prepared.folder_ok and free_bytes(parent) < COPIES * checkpoint_bytes(prepared.module.model):
        checklist.fail("optimizer step", f"not rehearsed: {parent} has no space for checkpoints either: set TMPDIR")
        return None
    given = os.environ.get(FOLDER)
    folder = Path(given) if given else Path(tempfile.mkdtemp(prefix=".rehearsal_", dir=parent))
    os.environ[FOLDER] = str(folder)
    try:
        short = shortened(cfg, folder, _instead(prepared))
        return take_steps(short, prepared.sets.data, prepared.module, prepared.resume, checklist)
    finally:
        if not given:
            del os.environ[FOLDER]
            shutil.rmtree(folder, ignore_errors=True)


def _instead(prepared: Prepared) -> dict[str, Any]:
    """Keys of ``trainer`` for this machine, with the batch size per device that the requested devices would have."""
    instead, plan = dict(prepared.devices.instead), prepared.plan
    if instead and plan is not None:
        there = instead.get("devices", prepared.devices.per_node)
        instead["accumulate_grad_batches"] = plan.devices * plan.accumulate // there
    return instead


def _estimate(cfg: DictConfig, prepared: Prepared, measured: StepMeasurements) -> Estimate:
    assert prepared.plan is not None
    return estimate(
        prepared.plan,
        measured,
        loading=prepared.loading,
        workers=prepared.sets.data.num_workers,
        images=prepared.sets.images("train"),
        validation_images=prepared.sets.images("val"),
        check_every=cfg.trainer.get("check_val_every_n_epoch") or 1,
    )
