"""``opsnet-train``: trains OPSNet as configured, or goes on where a run was stopped; with ``-m``, sweeps."""

from __future__ import annotations

import csv
import json
import logging
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf

log = logging.getLogger(__name__)
EARLIER = "metrics_before.csv"


def train(cfg: DictConfig) -> dict[str, float]:
    """Trains one model.

    Args:
        cfg: conf/train.yaml.

    Returns:
        The last validation metrics; ``results.json`` in the run's folder holds them too.

    Raises:
        CheckpointError, DatasetError, VocabularyError, ClipWeightsError: bad input, before training starts.
    """
    import lightning as L
    from hydra.utils import instantiate

    from opsnet.checkpoint.loading import check_resume
    from opsnet.training.recipe import plan_steps
    from opsnet.training.resume import find_resume

    folder = Path(cfg.output)
    resume = find_resume(cfg)
    L.seed_everything(cfg.seed, workers=True, verbose=False)
    data = instantiate(cfg.data.module, _convert_="object")
    data.prepare_data()
    data.setup("fit")
    check_supervision(cfg, data)
    module = build_module(cfg, data.datasets["train"].vocabulary, data.label_vocabulary)
    if resume is not None:
        check_resume(resume, module.model.clip.weights_hash, streams=1 + (data.label_vocabulary is not None))
    earlier = _earlier_rows(resume, folder) if resume is not None else []
    trainer = build_trainer(cfg, folder, resume)
    plan = plan_steps(cfg, trainer, data)
    if trainer.is_global_zero:
        log.info("%s", plan.sentence())
        if doubt := plan.doubt():
            log.warning("%s", doubt)
    start = time.monotonic()
    try:
        fit(trainer, module, data, resume)
    finally:
        if trainer.is_global_zero:
            _merge_metrics(folder / "metrics.csv", earlier)
    metrics = {k: float(v) for k, v in trainer.callback_metrics.items()}
    if not metrics and resume is not None and (folder / "results.json").is_file():
        log.info("%s is the end of the training already: nothing to do", resume)
        return dict(json.loads((folder / "results.json").read_text(encoding="utf-8"))["metrics"])
    if trainer.is_global_zero:
        _write_results(folder, cfg, metrics, time.monotonic() - start)
    return metrics


def fit(trainer: Any, module: Any, data: Any, resume: Path | None) -> None:
    """Lightning's ``fit``; at an error the other processes of this machine end too."""
    try:
        trainer.fit(module, data, ckpt_path=resume, weights_only=True)
    except Exception:
        _end_other_processes(trainer)
        raise


def _end_other_processes(trainer: Any) -> None:
    """Ends the processes that this one started, which would wait for it; Lightning does so after Ctrl-C alone."""
    from lightning.pytorch.strategies.launchers import _SubprocessScriptLauncher

    if isinstance(trainer.strategy.launcher, _SubprocessScriptLauncher):
        trainer.strategy.launcher.kill(signal.SIGKILL)


def check_supervision(cfg: DictConfig, data: Any) -> None:
    """Makes sure that every kind of picture has its losses, every loss its pictures, and a fine-tuning its start.

    Raises:
        InputError: it is not so.
    """
    from opsnet.data.image_label_dataset import ImageLabelDataset
    from opsnet.utils.errors import InputError

    if cfg.get("starts_from") and not cfg.init_from:
        raise InputError(
            f"{cfg.experiment_name} fine-tunes a trained model: give the checkpoint of {cfg.starts_from} in the same "
            "world by init_from=PATH"
        )
    if isinstance(data.datasets.get("train"), ImageLabelDataset):
        raise InputError(
            "data.module.train has image labels only, and OPSNet learns its masks from segments: train on both, e.g. "
            "by data=coco_imagenet"
        )
    if data.label_vocabulary is not None and cfg.get("image_labels") is None:
        raise InputError(
            "the data have image labels, but no loss is set for them: choose supervision=cls or cls_masksum, or data "
            "without labels, such as data=coco"
        )
    if data.label_vocabulary is None and cfg.get("image_labels") is not None:
        raise InputError(
            "the supervision asks for image labels, but the data have none: choose data=coco_imagenet, or "
            "supervision=masks"
        )
    if cfg.distillation and not cfg.init_from:
        raise InputError("distillation keeps the queries near a trained checkpoint: give it by init_from=CHECKPOINT")


def build_module(cfg: DictConfig, vocabulary: Any, label_vocabulary: Any = None) -> Any:
    """The LightningModule of a configuration, on the training vocabulary and that of the image labels.

    Raises:
        CheckpointError: the checkpoint to start from is not one of this network.
    """
    from hydra.utils import instantiate

    from opsnet.checkpoint.content import network_config, portable_config
    from opsnet.checkpoint.loading import load_initial_weights
    from opsnet.training.distillation import QueryDistillation
    from opsnet.training.module import OPSNetModule

    config = portable_config(cfg, vocabulary, label_vocabulary)
    start = network_config(cfg) if cfg.init_from else cfg  # its weights replace those that networks are built with
    model = instantiate(start["model"], backbone=start["backbone"], clip=start["clip"])
    if cfg.init_from:
        load_initial_weights(model, cfg.init_from)
    return OPSNetModule(
        model=model,
        criterion=instantiate(cfg.supervision),
        recognizer=instantiate(cfg.modulation),
        filtering=instantiate(cfg.filtering),
        optimizer=instantiate(cfg.optim.optimizer),
        scheduler=instantiate(cfg.optim.scheduler),
        overlap=cfg.overlap,
        seed=cfg.seed,
        train_vocabulary=vocabulary,
        config=config,
        image_labels=instantiate(cfg.get("image_labels")),
        label_vocabulary=label_vocabulary,
        distillation=QueryDistillation(model, weight=cfg.distillation) if cfg.distillation else None,
    )


def build_trainer(cfg: DictConfig, folder: Path, resume: Path | None = None) -> Any:
    """Lightning's Trainer with CSV logging always, and the configured loggers beside it.

    Raises:
        InputError: ``probes`` asks for what there is not.
    """
    import rich
    from hydra.utils import instantiate
    from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint, RichProgressBar
    from lightning.pytorch.loggers import CSVLogger

    from opsnet.training.callbacks import InterruptCheckpoint, LogPictures, ProgressLines, RecordRun, SeedEveryStep
    from opsnet.training.callbacks.record import keep_run_id

    for name in ("lightning.pytorch", "lightning.fabric"):  # devices that are not used, and an advertisement
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
        InterruptCheckpoint(folder=checkpoints),
        SeedEveryStep(seed=cfg.seed),
        LearningRateMonitor("step"),
        LogPictures(),
        *_probes(cfg),
    ]
    wanted = cfg.trainer.get("enable_progress_bar", True)
    bar = wanted and rich.get_console().is_terminal
    if wanted:
        callbacks.append(RichProgressBar() if bar else ProgressLines(every=cfg.progress_every))
    if cfg.logger:
        keep_run_id(folder, resume)
        callbacks.append(RecordRun(config=cast(dict[str, Any], OmegaConf.to_container(cfg, resolve=True))))
    extra = [instantiate(logger, _convert_="all") for logger in (cfg.logger or {}).values()]
    return instantiate(
        cfg.trainer,
        enable_progress_bar=bar,
        accumulate_grad_batches=cfg.trainer.get("accumulate_grad_batches") or 1,  # plan_steps has the last word
        default_root_dir=str(folder),
        callbacks=callbacks,
        logger=[CSVLogger(str(folder), name="", version=""), *extra],
    )


def _probes(cfg: DictConfig) -> list[Any]:
    from opsnet.training.callbacks import probe_callbacks

    known = list(OmegaConf.select(cfg, "data.module.test") or {})
    return probe_callbacks(cfg.probes, known, cfg.trainer.get("check_val_every_n_epoch", 1))


def _earlier_rows(resume: Path, folder: Path) -> list[dict[str, str]]:
    """The figures from before: the run's own, or those of the run that the checkpoint comes from.

    They are set aside in a file until the end: CSVLogger deletes ``metrics.csv`` when it starts, and this run may be
    killed too.
    """
    aside = folder / EARLIER
    rows = _joined(_rows(aside), _rows(folder / "metrics.csv")) or _rows(resume.parent.parent / "metrics.csv")
    if rows:
        _write_rows(aside, rows)
    return rows


def _rows(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _merge_metrics(path: Path, earlier: list[dict[str, str]]) -> None:
    """Puts the rows from before a resumption back."""
    if earlier:
        _write_rows(path, _joined(earlier, _rows(path)))
        (path.parent / EARLIER).unlink(missing_ok=True)


def _joined(earlier: list[dict[str, str]], later: list[dict[str, str]]) -> list[dict[str, str]]:
    """Both sets of rows; where they tell of the same step, the later ones count."""
    first = min((int(row["step"]) for row in later), default=None)
    again = {_place(row) for row in later}  # a step has a row of losses and perhaps one of its epoch's validation
    kept = [row for row in earlier if first is None or (int(row["step"]) <= first and _place(row) not in again)]
    return kept + later


def _write_rows(path: Path, rows: list[dict[str, str]]) -> None:
    from opsnet.utils.files import atomic_path

    fields = list(dict.fromkeys(key for row in rows for key in row))
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fields, restval="")
        writer.writeheader()
        writer.writerows(rows)


def _place(row: dict[str, str]) -> tuple[int, frozenset[str]]:
    """A row's step, and which figures it holds."""
    return int(row["step"]), frozenset(key for key, value in row.items() if value)


def _write_results(folder: Path, cfg: DictConfig, metrics: dict[str, float], seconds: float) -> None:
    from opsnet.metrics.results import versions
    from opsnet.utils.files import write_json

    name = cfg.experiment_name
    results = {"experiment": name, "seed": cfg.seed, "metrics": metrics, "seconds": {"training": seconds}}
    write_json(folder / "results.json", {**results, "domain_similarity": {}, "versions": versions()})
    log.info("%s", json.dumps(metrics))


def main() -> None:
    """Console entry point."""
    import hydra

    from opsnet.paper.old_names import refuse_old_names
    from opsnet.sweep.cluster import rank_arguments, require_submitit
    from opsnet.sweep.sweep import Sweep, check_single, is_sweep
    from opsnet.utils.configuration import config_dir
    from opsnet.utils.errors import exit_on_user_error

    sweep = Sweep()

    def run(cfg: DictConfig) -> Any:
        if is_sweep():
            return sweep.add(cfg)
        check_single(cfg)
        return train(cfg)

    hint = "resume=auto goes on from the last checkpoint"
    with exit_on_user_error(interrupted=hint), refuse_old_names(sys.argv[1:]):
        require_submitit(sys.argv[1:])
        sys.argv += rank_arguments(sys.argv[1:], os.environ)
        hydra.main(version_base="1.3", config_path=str(config_dir()), config_name="train")(run)()
        code = sweep.run()
    if code:
        sys.exit(code)


if __name__ == "__main__":
    main()
