"""``opsnet-train``: trains OPSNet as configured, or goes on where a run was stopped; with ``-m``, sweeps."""

from __future__ import annotations

import csv
import json
import logging
import os
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
    import torch
    from hydra.utils import instantiate

    folder = Path(cfg.output)
    resume = find_resume(cfg)
    L.seed_everything(cfg.seed, workers=True, verbose=False)
    torch.use_deterministic_algorithms(cfg.deterministic, warn_only=True)
    data = instantiate(cfg.data.module, _convert_="object")
    data.prepare_data()
    data.setup("fit")
    module = build_module(cfg, data.datasets["train"].vocabulary)
    if resume is not None:
        _check_resume(resume, module.model.clip.weights_hash)
    earlier = _earlier_rows(resume, folder) if resume is not None else []
    trainer = build_trainer(cfg, folder, resume)
    start = time.monotonic()
    try:
        trainer.fit(module, data, ckpt_path=resume, weights_only=True)
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


def build_module(cfg: DictConfig, vocabulary: Any) -> Any:
    """The LightningModule of a configuration, on the training vocabulary."""
    from hydra.utils import instantiate

    from opsnet.module import OPSNetModule

    return OPSNetModule(
        model=instantiate(cfg.model, backbone=cfg.backbone, clip=cfg.clip),
        criterion=instantiate(cfg.supervision),
        modulation=instantiate(cfg.modulation),
        filtering=instantiate(cfg.filtering),
        optimizer=instantiate(cfg.optim.optimizer),
        scheduler=instantiate(cfg.optim.scheduler),
        overlap=cfg.overlap,
        seed=cfg.seed,
        train_vocabulary=vocabulary,
        config=portable_config(cfg, vocabulary),
    )


def portable_config(cfg: DictConfig, vocabulary: Any) -> dict[str, Any]:
    """What a checkpoint carries so that the same model can be built again from any folder."""
    parts: dict[str, Any] = {
        key: OmegaConf.to_container(cfg[key], resolve=True) for key in ("model", "backbone", "clip")
    }
    # The checkpoint's own weights follow.
    parts["backbone"].update(pretrained=False, weights=None)
    parts["model"]["weights"] = None
    weights = parts["clip"]["model"]["weights"]
    if weights not in ("builtin", "random"):
        parts["clip"]["model"]["weights"] = str(Path(weights).expanduser().resolve())
    names = {"name": vocabulary.name, "categories": vocabulary.categories()}
    return {**parts, "overlap": cfg.overlap, "vocabulary": names}


def build_trainer(cfg: DictConfig, folder: Path, resume: Path | None = None) -> Any:
    """Lightning's Trainer with CSV logging always, and the configured loggers beside it.

    Raises:
        InputError: ``probes`` asks for what there is not.
    """
    from hydra.utils import instantiate
    from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint, RichProgressBar
    from lightning.pytorch.loggers import CSVLogger

    from opsnet.callbacks import InterruptCheckpoint, LogPictures, RecordRun, SeedEveryStep
    from opsnet.callbacks.record import keep_run_id

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
    if cfg.trainer.get("enable_progress_bar", True):
        callbacks.append(RichProgressBar())
    if cfg.logger:
        keep_run_id(folder, resume)
        callbacks.append(RecordRun(config=cast(dict[str, Any], OmegaConf.to_container(cfg, resolve=True))))
    extra = [instantiate(logger, _convert_="all") for logger in (cfg.logger or {}).values()]
    return instantiate(
        cfg.trainer,
        default_root_dir=str(folder),
        callbacks=callbacks,
        logger=[CSVLogger(str(folder), name="", version=""), *extra],
    )


def _probes(cfg: DictConfig) -> list[Any]:
    from opsnet.callbacks import probe_callbacks

    known = list(OmegaConf.select(cfg, "data.module.test") or {})
    return probe_callbacks(cfg.probes, known, cfg.trainer.get("check_val_every_n_epoch", 1))


def find_resume(cfg: DictConfig) -> Path | None:
    """The checkpoint to go on from.

    ``resume=auto`` takes the run's own ``last.ckpt``, else that of the newest unfinished run of the same experiment and
    seed; ``resume=PATH`` takes that file.

    Raises:
        CheckpointError: the file does not exist.
    """
    from opsnet.errors import CheckpointError

    if not cfg.resume:
        return None
    if cfg.resume != "auto":
        path = Path(cfg.resume).expanduser()
        if not path.is_file():
            raise CheckpointError(f"checkpoint {path} (resume) does not exist: check the path, or use resume=auto")
        return path
    own = Path(cfg.output) / "checkpoints" / "last.ckpt"
    if own.is_file():
        return own
    candidates = (Path(cfg.paths.runs) / cfg.experiment_name).glob("*/checkpoints/last.ckpt")
    for path in sorted(candidates, key=lambda p: p.stat().st_mtime, reverse=True):
        run = path.parent.parent
        config = run / ".hydra" / "config.yaml"
        same_seed = config.is_file() and OmegaConf.select(OmegaConf.load(config), "seed") == cfg.seed
        if same_seed and not (run / "results.json").is_file():
            log.info("resuming from %s", path)
            return path
    log.info("resume=auto found no unfinished run of %s with seed %s: starting anew", cfg.experiment_name, cfg.seed)
    return None


def _check_resume(path: Path, clip_hash: str) -> None:
    import torch

    from opsnet.clip.loading import check_clip_hash
    from opsnet.errors import CheckpointError

    try:
        checkpoint = dict(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:  # pickle, zip and type errors of a foreign or broken file
        raise CheckpointError(
            f"{path} (resume) is not a checkpoint ({type(error).__name__}): give one written by opsnet-train"
        ) from error
    check_clip_hash(checkpoint, clip_hash, f"checkpoint {path}")


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
    from opsnet.files import atomic_path

    fields = list(dict.fromkeys(key for row in rows for key in row))
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fields, restval="")
        writer.writeheader()
        writer.writerows(rows)


def _place(row: dict[str, str]) -> tuple[int, frozenset[str]]:
    """A row's step, and which figures it holds."""
    return int(row["step"]), frozenset(key for key, value in row.items() if value)


def _write_results(folder: Path, cfg: DictConfig, metrics: dict[str, float], seconds: float) -> None:
    from opsnet.files import write_json
    from opsnet.reporting.results import versions

    name = cfg.experiment_name
    results = {"experiment": name, "seed": cfg.seed, "metrics": metrics, "seconds": {"training": seconds}}
    write_json(folder / "results.json", {**results, "domain_similarity": {}, "versions": versions()})
    log.info("%s", json.dumps(metrics))


def main() -> None:
    """Console entry point."""
    import hydra

    from opsnet.cluster import rank_arguments, require_submitit
    from opsnet.configuration import config_dir
    from opsnet.errors import one_sentence_errors
    from opsnet.sweep import Sweep, check_single, is_sweep

    sweep = Sweep()

    def run(cfg: DictConfig) -> Any:
        if is_sweep():
            return sweep.add(cfg)
        check_single(cfg)
        return train(cfg)

    with one_sentence_errors():
        require_submitit(sys.argv[1:])
        sys.argv += rank_arguments(sys.argv[1:], os.environ)
        hydra.main(version_base="1.3", config_path=str(config_dir()), config_name="train")(run)()
        code = sweep.run()
    if code:
        sys.exit(code)


if __name__ == "__main__":
    main()
