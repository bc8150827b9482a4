"""Takes optimizer steps, a validation and checkpoints of a run, with the Trainer of the training."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import lightning as L
import torch
from omegaconf import DictConfig, OmegaConf

from opsnet.checkpoint.content import trained_weights
from opsnet.diagnosis.checklist import Checklist
from opsnet.diagnosis.watch import StepMeasurements, Watch
from opsnet.training.recipe import plan_steps
from opsnet.utils.errors import InputError


def shortened(cfg: DictConfig, folder: Path, instead: dict[str, Any]) -> DictConfig:
    """The configuration of a run that ends after a few steps in another folder, but is otherwise the same.

    Precision, gradient clipping, strategy, batches, transforms, optimizer, schedule and planned length are unchanged.

    Args:
        cfg: conf/train.yaml.
        folder: folder to write to.
        instead: keys of ``trainer`` that this machine needs.
    """
    short = cfg.copy()
    OmegaConf.set_struct(short, False)
    short.output = str(folder)
    short.trainer.update({"limit_val_batches": 1, "check_val_every_n_epoch": 1, "log_every_n_steps": 1, **instead})
    short.trainer.enable_progress_bar = False  # it would garble the report
    for key in ("val_check_interval", "min_epochs", "min_steps"):
        short.trainer.pop(key, None)
    short.checkpoint_every = 1
    short.probes.every, short.probes.limit = None, 1
    for logger in (short.logger or {}).values():
        if "offline" in logger:  # a wandb run that is removed with the folder
            logger.offline, logger.settings.silent = True, True
    return short


def take_steps(
    cfg: DictConfig, data: Any, module: Any, resume: Path | None, checklist: Checklist
) -> StepMeasurements | None:
    """Trains a shortened configuration and reads its checkpoints back.

    Args:
        cfg: see :func:`shortened`.
        data: the data module, set up.
        module: the LightningModule of the configuration.
        resume: checkpoint to resume from.
        checklist: receives a result for step, validation and checkpoints.

    Returns:
        The measurements; ``None`` if the training stopped with an error.
    """
    from opsnet.training.run import build_trainer, fit

    watch, folder = Watch(), Path(cfg.output)
    try:
        trainer = build_trainer(cfg, folder, resume)
        plan_steps(cfg, trainer, data)
        trainer.callbacks.append(watch)
        fit(trainer, module, data, resume)
    except torch.OutOfMemoryError as error:
        checklist.fail("optimizer step", f"out of memory ({_line(error)}): {_smaller(cfg)}")
        return None
    except InputError as error:
        checklist.fail("optimizer step", str(error))
        return None
    except Exception as error:
        done = watch.measured.steps
        where = "optimizer step" if not done else "validation or checkpoint"
        summary = f"the training stops after {done} steps with {type(error).__name__}: {_line(error)}"
        checklist.crash(where, f"{summary} (traceback below)", error)
        return None
    measured = watch.measured
    if not measured.steps:
        checklist.ok("optimizer step", "the checkpoint to resume from is at the end of the training: nothing to do")
        return None
    _judge(measured, watch.unused, trainer, checklist)
    if trainer.is_global_zero:  # another process might read it after the folder is removed
        read_back(folder / "checkpoints", module, checklist)
    return measured


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:400]


def _smaller(cfg: DictConfig) -> str:
    most = cfg.data.module.get("device_batch_size") or cfg.data.module.batch_size
    if most > 1:
        return f"give ++data.module.device_batch_size={most // 2}"
    return "give ++backbone.checkpointing=true, or ++data.module.train.transform.size=640"


def _judge(measured: StepMeasurements, unused: list[str], trainer: L.Trainer, checklist: Checklist) -> None:
    check, count = "optimizer step", measured.steps
    taken = f"{count} taken in {measured.precision}, of {len(measured.seconds)} batches, loss {measured.loss:.3f}"
    checklist.ok(check, taken)
    if unused:
        checklist.warn(
            check,
            f"{len(unused)} parameters receive no gradient (the first is {unused[0]}): with several GPUs give "
            "++trainer.strategy=ddp_find_unused_parameters_true",
        )
    pq = trainer.callback_metrics.get("val/PQ")
    if pq is not None:
        checklist.ok("validation", f"a batch of {measured.validation[1]}, val/PQ logged")
    elif trainer.num_val_batches:
        checklist.fail(
            "validation", "val/PQ was not logged, so best.ckpt would never be written: check data.module.val"
        )


def read_back(folder: Path, module: Any, checklist: Checklist) -> None:
    """Reads the checkpoint of a run and compares every weight with the network's.

    Args:
        folder: folder with ``last.ckpt``.
        module: the trained LightningModule.
        checklist: receives the result.
    """
    path = folder / "last.ckpt"
    if not path.is_file():
        checklist.fail("checkpoint", f"{path.name} was not written: check checkpoint_every")
        return
    start = time.monotonic()
    state = torch.load(path, map_location="cpu", weights_only=True)
    own = trained_weights(module.state_dict())
    wrong = sorted(own.keys() ^ state["state_dict"].keys())
    wrong += [k for k in own if k in state["state_dict"] and not torch.equal(own[k].cpu(), state["state_dict"][k])]
    if wrong or not state["optimizer_states"]:
        checklist.fail("checkpoint", f"{path.name} differs from the trained network: {(wrong or ['no optimizer'])[0]}")
        return
    size, seconds = path.stat().st_size / 2**30, time.monotonic() - start
    checklist.ok(
        "checkpoint", f"written and read back in {seconds:.1f} s, identical: {len(own)} tensors, {size:.2f} GiB"
    )
