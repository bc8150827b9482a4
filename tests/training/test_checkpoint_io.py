"""Checkpoints that survive: whole or not at all, the previous one kept, nothing non-finite over a good one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from opsnet.training.checkpoint_io import DurableCheckpointIO, previous, remove_leftovers
from opsnet.utils.errors import CheckpointError


def content(value: float) -> dict:
    return {"state_dict": {"a": torch.full((3,), value)}, "opsnet": {}}


def value(path: Path) -> float:
    return float(torch.load(path, weights_only=True)["state_dict"]["a"][0])


def test_the_previous_checkpoint_is_kept(tmp_path) -> None:
    path = tmp_path / "new" / "last.ckpt"
    for number in (1.0, 2.0, 3.0):
        DurableCheckpointIO().save_checkpoint(content(number), path)
    assert value(path) == 3
    assert value(previous(path)) == 2
    assert sorted(p.name for p in path.parent.iterdir()) == ["last.ckpt", "last.previous.ckpt"]


def test_without_hard_links_the_previous_one_is_moved(tmp_path, monkeypatch) -> None:
    def refuse(*_) -> None:
        raise PermissionError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    path = tmp_path / "last.ckpt"
    for number in (1.0, 2.0):
        DurableCheckpointIO().save_checkpoint(content(number), path)
    assert (value(path), value(previous(path))) == (2, 1)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_nothing_non_finite_replaces_a_good_checkpoint(tmp_path, bad) -> None:
    path = tmp_path / "last.ckpt"
    DurableCheckpointIO().save_checkpoint(content(1.0), path)
    with pytest.raises(CheckpointError, match=r"the checkpoint for .*last\.ckpt: a contains NaN or infinity"):
        DurableCheckpointIO().save_checkpoint(content(bad), path)
    assert value(path) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["last.ckpt"]


def test_a_failed_write_is_one_sentence_and_leaves_the_old_file(tmp_path, monkeypatch) -> None:
    path = tmp_path / "last.ckpt"
    DurableCheckpointIO().save_checkpoint(content(1.0), path)

    def full(*_) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(CheckpointError, match=r"\(No space left on device\); last\.ckpt is still the one before"):
        DurableCheckpointIO().save_checkpoint(content(2.0), path)
    assert value(path) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["last.ckpt"]


SAVE_FOREVER = """
import sys, torch
from opsnet.training.checkpoint_io import DurableCheckpointIO
io, number = DurableCheckpointIO(), 0
while True:
    number += 1
    io.save_checkpoint({"state_dict": {"a": torch.full((400_000,), float(number))}, "opsnet": {}}, sys.argv[1])
    print(number, flush=True)
"""


def other_filesystem(tmp_path: Path) -> Path:
    """A folder on another filesystem than the temporary one, where that exists."""
    shared = Path("/dev/shm")
    return shared / f"opsnet_{os.getpid()}" if os.access(shared, os.W_OK) else tmp_path


def test_a_kill_at_any_moment_of_a_save_leaves_a_whole_checkpoint(tmp_path) -> None:
    folder = other_filesystem(tmp_path)
    path = folder / "last.ckpt"
    try:
        for wait in (0.0, 0.001, 0.002, 0.003, 0.005):
            process = subprocess.Popen(
                [sys.executable, "-c", SAVE_FOREVER, str(path)], stdout=subprocess.PIPE, text=True
            )
            assert process.stdout is not None
            for _ in range(3):
                done = float(process.stdout.readline())
            time.sleep(wait)
            process.send_signal(signal.SIGKILL)
            rest = process.communicate()[0].split()
            written = float(rest[-1]) if rest else done
            assert value(path) in (written, written + 1)
            assert value(previous(path)) >= written - 1
        remove_leftovers(folder)
        assert sorted(p.name for p in folder.iterdir()) == ["last.ckpt", "last.previous.ckpt"]
    finally:
        for left in folder.glob("*") if folder != tmp_path else ():
            left.unlink()
        if folder != tmp_path:
            remove_leftovers(folder)
            folder.rmdir()
