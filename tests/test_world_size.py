"""What the number of processes changes of a training: nothing, for as many pictures a step."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from small_training import SMALL


def start(world: list[str], folder: Path, *overrides: str) -> Path:
    given = [f"++{o}" if o.startswith("trainer.") else o for o in SMALL]
    command = [sys.executable, "-m", "opsnet.train", *world, *given, f"hydra.run.dir={folder}", *overrides]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def losses(folder: Path) -> list[float]:
    with (folder / "metrics.csv").open(newline="") as file:
        return [float(row["train/loss"]) for row in csv.DictReader(file) if row["train/loss"]]


@pytest.mark.slow
def test_two_processes_train_and_validate_as_one(world_overrides, tmp_path) -> None:
    # Of the miniature's own size: rounding turns a choice of the matching now and then, which weighs more among few
    # queries and points; and with its own warm-up.
    sizes = ["model.query_decoder.queries=64", "supervision.points=384", "optim.scheduler.warmup=100"]
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
