"""Trains OPSNet as configured, or resumes an interrupted run."""

from __future__ import annotations

import json
import logging
import signal
import time
from pathlib import Path
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf

from opsnet.utils.ranks import is_lost_connection, lost_others
from opsnet.utils.stop_signals import Stopped, end_with_parent

log = logging.getLogger(__name__)


def train(cfg: DictConfig) -> dict[str, float]:
    """Trains one model.

    Args:
        cfg: conf/train.yaml.

    Returns:
        The last validation metrics, which are also written to ``results.json`` in the run's folder.

    Raises:
        InputError: invalid input, before training starts.
        KeyboardInterrupt, Stopped: see :func:`fit`.
    """
    from lightning.fabric.utilities.rank_zero import _get_rank

    from opsnet.training.checkpoint_io import remove_leftovers
    from opsnet.training.initial import with_initial_clip
    from opsnet.training.resume import find_resume
    from opsnet.training.run_folder import own_folder
    from opsnet.training.values import check_training

    if _get_rank():  # it would wait forever for a first process that was killed
        end_with_parent()
    folder = Path(cfg.output)
    check_training(cfg)
    cfg = with_initial_clip(cfg)
    resume = find_resume(cfg)
    with own_folder(folder, resume):
        remove_leftovers(folder / "checkpoints")
        return _train(cfg, folder, resume)


def _train(cfg: DictConfig, folder: Path, resume: Path | None) -> dict[str, float]:
    import lightning as L
    from hydra.utils import instantiate

    from opsnet.checkpoint.loading import check_resume
    from opsnet.training.loss_checks import check_losses
    from opsnet.training.recipe import plan_steps
    from opsnet.training.requeue import requeue
    from opsnet.training.resume import check_same_options

    L.seed_everything(cfg.seed, workers=True, verbose=False)
    data = instantiate(cfg.data.module, _convert_="object")
    data.prepare_data()
    data.setup("fit")
    check_losses(cfg, data)
    module = build_module(cfg, data.datasets["train"].vocabulary, data.label_vocabulary)
    if resume is not None:
        streams = 1 + (data.label_vocabulary is not None)
        checkpoint = check_resume(resume, module.model.clip.weights_hash, streams, module.state_dict())
        check_same_options(checkpoint, cfg, resume)
    trainer = build_trainer(cfg, folder, resume)
    plan = plan_steps(cfg, trainer, data)
    if trainer.is_global_zero:
        log.info("%s", plan.sentence())
        if warning := plan.warning():
            log.warning("%s", warning)
    start = time.monotonic()
    try:
        fit(trainer, module, data, resume)
    except Stopped as stop:
        if trainer.is_global_zero:
            requeue(stop, resumes=cfg.resume == "auto")
        raise
    metrics = {k: float(v) for k, v in trainer.callback_metrics.items()}
    if not metrics and resume is not None and (folder / "results.json").is_file():
        log.info("%s is from the end of the training: nothing to do", resume)
        return dict(json.loads((folder / "results.json").read_text(encoding="utf-8"))["metrics"])
    if trainer.is_global_zero:
        _write_results(folder, cfg, metrics, time.monotonic() - start)
    return metrics


def fit(trainer: Any, module: Any, data: Any, resume: Path | None) -> None:
    """Runs Lightning's ``fit``; after an error, the other processes on this machine are terminated.

    Raises:
        NonFiniteError: NaN in the images or weights made the network fail.
        InputError: another process has ended; its own message says why.
        KeyboardInterrupt: after Ctrl-C.
        Stopped: after another signal, with the exit code by which schedulers know it.
    """
    from opsnet.training.callbacks import NonFiniteGradients

    try:
        trainer.fit(module, data, ckpt_path=resume, weights_only=True)
    except Stopped as stop:
        _end_other_processes(trainer)
        if stop.number == signal.SIGINT:
            raise KeyboardInterrupt from None
        raise
    except SystemExit as exit_:  # Lightning's, for a Ctrl-C before the first step
        if isinstance(exit_.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        raise
    except Exception as error:
        _end_other_processes(trainer)
        for callback in trainer.callbacks:
            if isinstance(callback, NonFiniteGradients) and (cause := callback.cause(trainer, module)):
                raise cause from error
        if trainer.world_size > 1 and is_lost_connection(error):
            raise lost_others(trainer.global_rank, trainer.world_size) from error
        raise


def _end_other_processes(trainer: Any) -> None:
    """Terminates the processes that this one started, which would hang; Lightning does so only after Ctrl-C."""
    from lightning.pytorch.strategies.launchers import _SubprocessScriptLauncher

    if isinstance(trainer.strategy.launcher, _SubprocessScriptLauncher):
        trainer.strategy.launcher.kill(signal.SIGKILL)


def build_module(cfg: DictConfig, vocabulary: Any, label_vocabulary: Any = None) -> Any:
    """The LightningModule of a configuration, for the vocabularies of the training data and the image labels.

    Raises:
        CheckpointError, WeightsError: ``init_from`` has the weights of another network or CLIP.
        InputError: a loss has no class or no weight.
    """
    from hydra.utils import instantiate

    from opsnet.checkpoint.content import network_config, portable_config
    from opsnet.losses.building import build_losses
    from opsnet.published.initial_weights import initialize
    from opsnet.training.module import OPSNetModule

    known = vocabulary.without(cfg.held_out) if cfg.held_out else vocabulary
    config = portable_config(cfg, known, label_vocabulary)
    start = network_config(cfg) if cfg.init_from else cfg  # its weights replace the initial ones
    model = instantiate(start["model"], backbone=start["backbone"], clip=start["clip"])
    recognizer = instantiate(cfg.modulation)
    if cfg.init_from:
        initialize(model, cfg.init_from, recognizer)
    return OPSNetModule(
        model=model,
        losses=build_losses(cfg.losses, model),
        matcher=instantiate(cfg.matching),
        recognizer=recognizer,
        filtering=instantiate(cfg.filtering),
        optimizer=instantiate(cfg.optim.optimizer),
        scheduler=instantiate(cfg.optim.scheduler),
        overlap=cfg.overlap,
        seed=cfg.seed,
        train_vocabulary=known,
        data_vocabulary=vocabulary,
        recognizer_multiplier=cfg.recognizer_multiplier,
        config=config,
        label_vocabulary=label_vocabulary,
    )


def build_trainer(cfg: DictConfig, folder: Path, resume: Path | None = None) -> Any:
    """Lightning's Trainer with the CSV logger and the configured loggers.

    Raises:
        InputError: ``probes`` is invalid.
    """
    import rich
    from hydra.utils import instantiate
    from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint, RichProgressBar

    from opsnet.training.callbacks import (
        InterruptCheckpoint,
        KeepOptions,
        LogImages,
        NonFiniteGradients,
        ProgressLines,
        RecordRun,
        SeedEveryStep,
        StopOnSignal,
        WeightAverage,
    )
    from opsnet.training.callbacks.record import keep_run_id
    from opsnet.training.checkpoint_io import DurableCheckpointIO
    from opsnet.training.csv_logger import ResumableCSVLogger

    for name in ("lightning.pytorch", "lightning.fabric"):  # hides hints on unused devices, and advertisements
        logging.getLogger(name).setLevel(logging.WARNING)
    checkpoints = folder / "checkpoints"
    callbacks = [
        ModelCheckpoint(checkpoints, filename="best", monitor="val/PQ", mode="max", enable_version_counter=False),
        ModelCheckpoint(
            checkpoints,
            filename="last",
            every_n_epochs=cfg.checkpoint_every,
            save_on_train_epoch_end=True,
            enable_version_counter=False,
        ),
        *([WeightAverage(decay=cfg.ema)] if cfg.get("ema") is not None else ()),
        InterruptCheckpoint(folder=checkpoints),
        StopOnSignal(),  # after InterruptCheckpoint, which prepares each step
        SeedEveryStep(seed=cfg.seed),
        KeepOptions(cfg),
        NonFiniteGradients(mode=cfg.on_nonfinite, limit=cfg.nonfinite_limit, folder=folder),
        LearningRateMonitor("step"),
        LogImages(),
        *_probes(cfg),
    ]
    show_progress = cfg.trainer.get("enable_progress_bar", True)
    bar = show_progress and rich.get_console().is_terminal
    if show_progress:
        callbacks.append(RichProgressBar() if bar else ProgressLines(every=cfg.progress_every))
    if cfg.logger:
        keep_run_id(folder, resume)
        callbacks.append(RecordRun(config=cast(dict[str, Any], OmegaConf.to_container(cfg, resolve=True))))
    extra = [instantiate(logger, _convert_="all") for logger in (cfg.logger or {}).values()]
    return instantiate(
        cfg.trainer,
        enable_progress_bar=bar,
        accumulate_grad_batches=cfg.trainer.get("accumulate_grad_batches") or 1,  # set by plan_steps
        default_root_dir=str(folder),
        callbacks=callbacks,
        plugins=[*(instantiate(cfg.trainer.get("plugins")) or ()), DurableCheckpointIO()],
        logger=[ResumableCSVLogger(folder, resume=resume), *extra],
    )


def _probes(cfg: DictConfig) -> list[Any]:
    from opsnet.training.callbacks import probe_callbacks

    known = list(OmegaConf.select(cfg, "data.module.test") or {})
    return probe_callbacks(cfg.probes, known, cfg.trainer.get("check_val_every_n_epoch", 1))


def _write_results(folder: Path, cfg: DictConfig, metrics: dict[str, float], seconds: float) -> None:
    from opsnet.metrics.results import versions
    from opsnet.utils.files import write_json

    name = cfg.experiment_name
    results = {"experiment": name, "seed": cfg.seed, "metrics": metrics, "seconds": {"training": seconds}}
    write_json(folder / "results.json", {**results, "domain_similarity": {}, "versions": versions()})
    log.info("%s", json.dumps(metrics))
