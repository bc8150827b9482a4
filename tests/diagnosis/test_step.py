"""Steps by the real Trainer: what is measured, what stays as configured, and what stops a training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf

from opsnet.diagnosis.checklist import Checklist
from opsnet.diagnosis.step import read_back, shortened
from opsnet.training.module import OPSNetModule


def failure(checklist: Checklist) -> str:
    (result,) = checklist.of("failure")
    return f"{result.check}: {result.sentence}"


def test_nothing_but_length_and_folder_is_changed(train_config, tmp_path: Path) -> None:
    cfg = train_config(tmp_path / "run", "trainer.gradient_clip_val=0.3", "++trainer.precision=bf16-mixed")
    short = shortened(cfg, tmp_path / "other", {"devices": 1})
    before, after = (OmegaConf.to_container(c, resolve=True) for c in (cfg, short))
    changed = {key for key in before if before[key] != after[key]}
    assert changed <= {"output", "trainer", "probes", "checkpoint_every"}
    allowed = {"limit_val_batches", "check_val_every_n_epoch", "log_every_n_steps", "enable_progress_bar", "devices"}
    trainer = {k for k in after["trainer"] if before["trainer"].get(k) != after["trainer"][k]}
    assert trainer <= allowed
    assert after["trainer"]["max_epochs"] == before["trainer"]["max_epochs"]


def test_an_error_of_the_trainer_is_a_failure_with_its_traceback(taken) -> None:
    # What AdamW(fused=True) was refused for: no clipping within the optimizer under mixed precision.
    def fused(module: Any) -> None:
        build = module.build_optimizer
        module.build_optimizer = lambda model: torch.optim.AdamW(build(model).param_groups, fused=True)

    figures, checklist, _ = taken("++trainer.precision=bf16-mixed", change=fused)
    assert figures is None
    assert "optimizer step: the training stops after 0 steps with RuntimeError" in failure(checklist)
    assert "gradient clipping" in failure(checklist)
    assert len(checklist.crashes) == 1


def test_too_little_memory_is_named_with_the_fix(taken, monkeypatch) -> None:
    def full(self: Any, batch: Any, batch_index: int) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(OPSNetModule, "training_step", full)
    told = failure(taken()[1])
    assert "out of memory (CUDA out of memory. Tried to allocate 2.00 GiB)" in told
    assert "give ++data.module.device_batch_size=4" in told


def test_a_failing_validation_comes_after_the_steps(taken, monkeypatch) -> None:
    def odd(self: Any, batch: Any, batch_index: int) -> None:
        raise ValueError("maps of 3 x 4 and 5 x 6 pixels")

    monkeypatch.setattr(OPSNetModule, "validation_step", odd)
    told = failure(taken()[1])
    assert told.startswith("validation or checkpoint: the training stops after 2 steps with ValueError: maps of 3 x 4")


def test_a_checkpoint_of_other_weights_is_found(taken, tmp_path: Path) -> None:
    _, _, prepared = taken()
    folder = tmp_path / "rehearsal" / "checkpoints"
    checklist = Checklist()
    read_back(folder, prepared.module, checklist)
    assert checklist.of("ok")
    with torch.no_grad():
        prepared.module.model.no_object_embed[0] += 1
    read_back(folder, prepared.module, checklist)
    assert "differs from the trained network: model.no_object_embed" in failure(checklist)
    (folder / "last.ckpt").unlink()
    read_back(folder, prepared.module, checklist)
    assert "last.ckpt was not written" in checklist.of("failure")[-1].sentence


def test_the_end_of_a_training_has_nothing_left(taken, trained) -> None:
    figures, checklist, _ = taken(f"resume={trained.checkpoint}")
    assert figures is None
    assert "nothing to do" in checklist.of("ok")[0].sentence
    figures, checklist, _ = taken(f"resume={trained.checkpoint}", "trainer.max_epochs=4")
    assert not checklist.of("failure")
    assert len(figures.seconds) == 2
