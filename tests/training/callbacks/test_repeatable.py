"""Callbacks with a stand-in for the trainer; their effect on whole runs is tested in test_train.py."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch.loops.progress import _BatchProgress
from lightning.pytorch.strategies import DDPStrategy, FSDPStrategy, SingleDeviceStrategy
from torch import nn

from opsnet.training.callbacks import InterruptCheckpoint, SeedEveryStep
from opsnet.training.callbacks.repeatable import moving_buffers
from opsnet.training.run import build_module
from opsnet.vocabulary import Vocabulary


def drawn(seed: int, step: int, rank: int = 0, *, index: int = 0, world_size: int = 2, accumulate: int = 1):
    trainer = SimpleNamespace(
        global_step=step, global_rank=rank, world_size=world_size, accumulate_grad_batches=accumulate
    )
    SeedEveryStep(seed=seed).on_train_batch_start(trainer, None, None, index)
    return torch.rand(3).tolist()


def test_random_numbers_depend_only_on_seed_step_and_rank() -> None:
    first = drawn(0, 5)
    torch.rand(100)
    assert drawn(0, 5) == first
    others = [drawn(0, 6), drawn(1, 5), drawn(0, 5, rank=1), drawn(0, 4)]
    assert first not in others
    assert all(a != b for i, a in enumerate(others) for b in others[:i])


def test_all_batches_of_a_step_draw_different_numbers() -> None:
    shares = [drawn(0, 5, rank, index=12 + k, accumulate=3) for k in range(3) for rank in (0, 1)]
    assert all(a != b for i, a in enumerate(shares) for b in shares[:i])
    alone = [drawn(0, 5, index=6 + k, world_size=1, accumulate=6) for k in range(6)]  # on one device, one by one
    assert shares == alone


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.model = nn.Module()
        self.model.norm, self.model.clip = nn.BatchNorm1d(2), nn.BatchNorm1d(2)


def make_trainer(
    step: int, *, rank: int = 0, strategy: type = SingleDeviceStrategy, accumulate: int = 1,
    ready: int = 3, processed: int = 2, completed: int = 2,
):  # fmt: skip
    """A trainer in an epoch of four batches."""
    progress = _BatchProgress()
    for part in (progress.total, progress.current):
        part.ready, part.started, part.processed, part.completed = ready, ready, processed, completed
    loop = SimpleNamespace(
        batch_progress=progress,
        _batches_that_stepped=processed,
        _should_check_val_epoch=lambda: True,
        _should_accumulate=lambda: progress.current.ready % accumulate != 0,
        val_loop=SimpleNamespace(batch_progress=_BatchProgress()),
    )
    saved: list[Path] = []
    plugin = SimpleNamespace(save_checkpoint=lambda checkpoint, path: saved.append(path))
    strategy = type("Strategy", (strategy,), {"__init__": lambda self: None, "checkpoint_io": plugin})()
    return SimpleNamespace(
        global_step=step,
        strategy=strategy,
        accumulate_grad_batches=accumulate,
        is_global_zero=rank == 0,
        _checkpoint_connector=SimpleNamespace(dump_checkpoint=lambda weights_only: {}),
        num_training_batches=4,
        validating=False,
        fit_loop=SimpleNamespace(epoch_loop=loop),
        saved=saved,
    )


@pytest.mark.parametrize(
    ("options", "error", "saves"),
    [
        ({"step": 2}, KeyboardInterrupt(), True),
        ({"step": 2}, RuntimeError(), True),
        ({"step": 0, "ready": 1, "processed": 0, "completed": 0}, KeyboardInterrupt(), False),
        ({"step": 2, "strategy": DDPStrategy}, KeyboardInterrupt(), True),
        ({"step": 2, "strategy": DDPStrategy, "rank": 1}, KeyboardInterrupt(), False),
        ({"step": 2, "strategy": DDPStrategy}, RuntimeError(), True),
        ({"step": 2, "strategy": DDPStrategy, "rank": 1}, RuntimeError(), True),  # the others may be blocked or killed
        ({"step": 2, "strategy": FSDPStrategy}, RuntimeError(), False),  # no rank has the whole state
        ({"step": 4, "ready": 4, "processed": 4, "completed": 4}, RuntimeError(), False),  # between epochs
        ({"step": 4, "ready": 4, "processed": 4, "completed": 3}, RuntimeError(), True),
    ],
)
def test_when_it_saves(options, error, saves, tmp_path) -> None:
    trainer, callback = make_trainer(**options), InterruptCheckpoint(folder=tmp_path)
    callback.on_train_batch_start(trainer, None, None, 0)
    callback.on_exception(trainer, None, error)
    assert trainer.saved == ([tmp_path / "last.ckpt"] if saves else [])


def test_a_resumed_run_that_could_not_read_its_first_batch_keeps_its_checkpoint(tmp_path) -> None:
    trainer = make_trainer(4, ready=1, processed=0, completed=0)
    InterruptCheckpoint(folder=tmp_path).on_exception(trainer, None, RuntimeError())
    assert not trainer.saved


def test_a_removed_run_is_not_made_again(tmp_path, caplog) -> None:
    """A checkpoint alone would be resumed without the configuration and the metrics that belong to it."""
    trainer = make_trainer(2)
    InterruptCheckpoint(folder=tmp_path / "run" / "checkpoints").on_exception(trainer, None, RuntimeError())
    assert not trainer.saved
    assert "run was removed: nothing is saved" in caplog.text


def test_an_interrupted_step_does_not_change_running_statistics(tmp_path) -> None:
    net, callback = Net(), InterruptCheckpoint(folder=tmp_path)
    norm, clip = net.model.norm, net.model.clip
    norm(torch.randn(8, 2))
    before, of_clip = norm.running_mean.clone(), clip.running_mean.clone()
    callback.on_train_start(None, net)
    callback.on_train_batch_start(make_trainer(2), net, None, 0)
    norm(torch.randn(8, 2) + 5)
    clip.running_mean += 1  # CLIP is frozen: its statistics are not copied at every step
    assert not torch.equal(norm.running_mean, before)
    callback.on_exception(make_trainer(2), net, KeyboardInterrupt())
    assert torch.equal(norm.running_mean, before)
    assert norm.num_batches_tracked == 1
    assert torch.equal(clip.running_mean, of_clip + 1)


def test_a_complete_step_is_saved(tmp_path) -> None:
    net, callback = Net(), InterruptCheckpoint(folder=tmp_path)
    callback.on_train_start(None, net)
    callback.on_train_batch_start(make_trainer(2), net, None, 0)
    net.model.norm(torch.randn(8, 2) + 5)
    after = net.model.norm.running_mean.clone()
    callback.on_exception(make_trainer(3, processed=3, completed=3), net, RuntimeError())
    assert torch.equal(net.model.norm.running_mean, after)


@pytest.mark.parametrize(
    "counts",
    [
        {"ready": 3, "processed": 2, "completed": 2},  # in its third batch
        {"ready": 3, "processed": 3, "completed": 2},  # at the end of the third
        {"ready": 3, "processed": 3, "completed": 3},  # while the fourth is read
        {"ready": 4, "processed": 3, "completed": 3},  # in the fourth
    ],
)
def test_an_accumulated_step_is_repeated_from_its_first_batch(counts, tmp_path) -> None:
    net, callback, trainer = Net(), InterruptCheckpoint(folder=tmp_path), make_trainer(1, accumulate=4, **counts)
    callback.on_train_start(trainer, net)
    before = net.model.norm.running_mean.clone()
    for index in range(counts["ready"]):
        callback.on_train_batch_start(trainer, net, None, index)
        net.model.norm(torch.randn(8, 2) + 5)
    callback.on_exception(trainer, net, RuntimeError())
    assert trainer.saved
    assert torch.equal(net.model.norm.running_mean, before)
    progress = trainer.fit_loop.epoch_loop.batch_progress
    for part in (progress.total, progress.current):
        assert (part.ready, part.processed, part.completed) == (1, 0, 0)


def test_only_the_statistics_of_trained_norms_are_copied(train_config, tmp_path) -> None:
    torch.manual_seed(0)
    for frozen in (False, True):
        config = train_config(tmp_path, f"++backbone.frozen_norms={frozen}")
        module = build_module(config, Vocabulary.load("scenes")).train()
        moving = {id(buffer) for buffer in moving_buffers(module)}
        before = {name: buffer.clone() for name, buffer in module.named_buffers()}
        module.model(torch.rand(2, 3, 64, 64))
        moved = {name for name, buffer in module.named_buffers() if not torch.equal(buffer, before[name])}
        assert moved == {name for name, buffer in module.named_buffers() if id(buffer) in moving}
        assert bool(moved) is not frozen
