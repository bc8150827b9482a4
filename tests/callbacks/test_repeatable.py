"""Callbacks on stand-ins of a trainer; their effect on whole runs is tested in test_train.py."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch.loops.progress import _BatchProgress
from torch import nn

from opsnet.callbacks import InterruptCheckpoint, SeedEveryStep


def drawn(seed: int, step: int, rank: int = 0) -> list[float]:
    trainer = SimpleNamespace(global_step=step, global_rank=rank)
    SeedEveryStep(seed=seed).on_train_batch_start(trainer, None, None, 0)
    return torch.rand(3).tolist()


def test_a_step_draws_by_seed_step_and_rank_alone() -> None:
    first = drawn(0, 5)
    torch.rand(100)
    assert drawn(0, 5) == first
    others = [drawn(0, 6), drawn(1, 5), drawn(0, 5, rank=1), drawn(0, 4)]
    assert first not in others
    assert all(a != b for i, a in enumerate(others) for b in others[:i])


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.model = nn.Module()
        self.model.norm, self.model.clip = nn.BatchNorm1d(2), nn.BatchNorm1d(2)


def make_trainer(step: int, *, world_size: int = 1, ready: int = 3, processed: int = 2, completed: int = 2):
    """A trainer in an epoch of four batches."""
    progress = _BatchProgress()
    for part in (progress.total, progress.current):
        part.ready, part.started, part.processed, part.completed = ready, ready, processed, completed
    loop = SimpleNamespace(
        batch_progress=progress,
        _batches_that_stepped=processed,
        _should_check_val_epoch=lambda: True,
        val_loop=SimpleNamespace(batch_progress=_BatchProgress()),
    )
    saved: list[Path] = []
    return SimpleNamespace(
        global_step=step,
        world_size=world_size,
        is_global_zero=True,
        num_training_batches=4,
        validating=False,
        fit_loop=SimpleNamespace(epoch_loop=loop),
        save_checkpoint=saved.append,
        saved=saved,
    )


@pytest.mark.parametrize(
    ("options", "error", "saves"),
    [
        ({"step": 2}, KeyboardInterrupt(), True),
        ({"step": 2}, RuntimeError(), True),
        ({"step": 0, "ready": 1, "processed": 0, "completed": 0}, KeyboardInterrupt(), False),
        ({"step": 2, "world_size": 2}, KeyboardInterrupt(), True),
        ({"step": 2, "world_size": 2}, RuntimeError(), False),  # the other ranks would wait forever
        ({"step": 4, "ready": 4, "processed": 4, "completed": 4}, RuntimeError(), False),  # between epochs
        ({"step": 4, "ready": 4, "processed": 4, "completed": 3}, RuntimeError(), True),
    ],
)
def test_when_it_saves(options, error, saves, tmp_path) -> None:
    trainer = make_trainer(**options)
    InterruptCheckpoint(folder=tmp_path).on_exception(trainer, None, error)
    assert trainer.saved == ([tmp_path / "last.ckpt"] if saves else [])


def test_a_step_cut_short_leaves_no_trace_in_running_statistics(tmp_path) -> None:
    net, callback = Net(), InterruptCheckpoint(folder=tmp_path)
    norm, clip = net.model.norm, net.model.clip
    norm(torch.randn(8, 2))
    before, of_clip = norm.running_mean.clone(), clip.running_mean.clone()
    callback.on_train_batch_start(None, net, None, 0)
    norm(torch.randn(8, 2) + 5)
    clip.running_mean += 1  # CLIP is frozen: its statistics are not copied at every step
    assert not torch.equal(norm.running_mean, before)
    callback.on_exception(make_trainer(2), net, KeyboardInterrupt())
    assert torch.equal(norm.running_mean, before)
    assert norm.num_batches_tracked == 1
    assert torch.equal(clip.running_mean, of_clip + 1)


def test_a_finished_step_stays(tmp_path) -> None:
    net, callback = Net(), InterruptCheckpoint(folder=tmp_path)
    callback.on_train_batch_start(None, net, None, 0)
    net.model.norm(torch.randn(8, 2) + 5)
    after = net.model.norm.running_mean.clone()
    callback.on_train_batch_end(None, net, None, None, 0)
    callback.on_exception(make_trainer(3, processed=3, completed=3), net, RuntimeError())
    assert torch.equal(net.model.norm.running_mean, after)
