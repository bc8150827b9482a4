"""The number of processes does not change a training with the same number of images per step."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from small_training import SMALL

from opsnet.data.panoptic_dataset import PanopticDataset
from opsnet.data.samplers import ResumableSampler


def run(world: list[str], folder: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    given = [f"++{o}" if o.startswith("trainer.") else o for o in SMALL]
    command = [sys.executable, "-m", "opsnet.train", *world, *given, f"hydra.run.dir={folder}", *overrides]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)


def start(world: list[str], folder: Path, *overrides: str) -> Path:
    done = run(world, folder, *overrides)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def losses(folder: Path) -> list[float]:
    with (folder / "metrics.csv").open(newline="") as file:
        return [float(row["train/loss"]) for row in csv.DictReader(file) if row["train/loss"]]


@pytest.mark.slow
def test_two_processes_train_and_validate_as_one(world_overrides, tmp_path) -> None:
    # Of the miniature's own size: rounding turns a choice of the matching now and then, which weighs more among few
    # queries and points; and with its own warm-up.
    sizes = ["model.query_decoder.queries=64", "matching.points=384", "optim.scheduler.warmup=100"]
    trainer = ["trainer.max_epochs=5", "++trainer.precision=32", "++trainer.strategy=ddp"]
    common = [*sizes, *trainer, "+data.module.val.limit=7"]
    one = start(world_overrides, tmp_path / "one", *common, "trainer.devices=1")
    two = start(world_overrides, tmp_path / "two", *common, "trainer.devices=2")
    assert len(losses(one)) == 20
    assert losses(two)[:4] == pytest.approx(losses(one)[:4], rel=1e-5)
    assert losses(two) == pytest.approx(losses(one), rel=1e-3)
    assert losses(one)[-1] < 0.9 * losses(one)[0]
    figures = [json.loads((folder / "results.json").read_text())["metrics"] for folder in (one, two)]
    assert figures[0]["val/PQ"] == pytest.approx(figures[1]["val/PQ"], abs=0.1)


TWO = ("trainer=scenes_ddp", "trainer.devices=2", "trainer.max_epochs=1", "++data.module.num_workers=1")


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_an_image_that_one_process_cannot_read_leaves_a_checkpoint_and_is_reported_again(
    rank, world, world_overrides, tmp_path
) -> None:
    whole = start(world_overrides, tmp_path / "whole", *TWO)
    shutil.copytree(world.data / "scenes_0", tmp_path / "data" / "scenes_0")
    mine = [f"paths.data={tmp_path / 'data'}", *world_overrides[1:]]
    clip = [f"clip.model.weights={world.clip}"]
    order = list(ResumableSampler(32, batch_size=4, seed=0, rank=rank, world_size=2))
    data = PanopticDataset(
        images=tmp_path / "data/scenes_0/scenes/train",
        annotations=tmp_path / "data/scenes_0/scenes/annotations/panoptic_train.json",
        vocabulary="scenes",
    )
    image = data.images / data._entries[order[2][0][1]].image
    content = image.read_bytes()
    image.write_bytes(content[: len(content) // 2])
    stopped = tmp_path / "stopped"
    for _ in range(2):  # resumed, it reads the image again and reports it again
        done = run(mine, stopped, *TWO, *clip, "resume=auto")
        assert done.returncode != 0
        assert f"error: {image} cannot be read as an image" in done.stderr, done.stdout + done.stderr
        checkpoint = torch.load(stopped / "checkpoints" / "last.ckpt", map_location="cpu", weights_only=False)
        assert checkpoint["global_step"] == 2
    image.write_bytes(content)
    start(mine, stopped, *TWO, *clip, "resume=auto")
    assert losses(stopped)[-2:] == losses(whole)[-2:]
    ours, theirs = (
        torch.load(f / "checkpoints" / "last.ckpt", map_location="cpu", weights_only=False)["state_dict"]
        for f in (stopped, whole)
    )
    assert all(torch.equal(ours[k], theirs[k]) for k in theirs)


@pytest.mark.slow
def test_two_processes_stop_at_one_step_and_leave_none_behind(world_overrides, tmp_path) -> None:
    """A signal to the first process, to the whole group with its workers, and SIGKILL to the first."""
    common = [*TWO[:2], *TWO[3:], "trainer.max_epochs=6", "ema=0.9"]
    whole = start(world_overrides, tmp_path / "whole", *common)
    stopped = tmp_path / "stopped"
    for number, code, kill in ((15, 143, os.kill), (10, 138, os.killpg), (2, 130, os.killpg), (9, -9, os.kill)):
        before = checkpoint_step(stopped)
        process = run_in_background(world_overrides, stopped, *common, "resume=auto")
        wait_until(lambda before=before: checkpoint_step(stopped) > before, process)
        kill(process.pid, number)
        assert process.wait(timeout=120) == code
        wait_until(lambda group=process.pid: not group_is_alive(group))
    start(world_overrides, stopped, *common, "resume=auto")
    assert losses(stopped) == losses(whole)
    ours, theirs = (
        torch.load(f / "checkpoints" / "last.ckpt", map_location="cpu", weights_only=True) for f in (stopped, whole)
    )
    for a, b in ((ours["state_dict"], theirs["state_dict"]), (ours["ema"]["weights"], theirs["ema"]["weights"])):
        assert all(torch.equal(a[k], b[k]) for k in b)


def checkpoint_step(folder: Path) -> int:
    path = folder / "checkpoints" / "last.ckpt"
    return torch.load(path, map_location="cpu", weights_only=True)["global_step"] if path.is_file() else 0


def run_in_background(world: list[str], folder: Path, *overrides: str) -> subprocess.Popen[bytes]:
    given = [f"++{o}" if o.startswith("trainer.") else o for o in SMALL]
    command = [sys.executable, "-m", "opsnet.train", *world, *given, f"hydra.run.dir={folder}", *overrides]
    return subprocess.Popen(
        command, env={**os.environ, "OMP_NUM_THREADS": "1"}, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # ignored in a shell's background processes
    )  # fmt: skip


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[bytes] | None = None) -> None:
    until = time.monotonic() + 300
    while not condition():
        assert process is None or process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.1)


def group_is_alive(group: int) -> bool:
    """Whether a process group has a process that is not a zombie."""
    states = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, _, its_group = path.read_text().rpartition(")")[2].split()[:3]
            states += [state] if int(its_group) == group else []
    return any(state != "Z" for state in states)
