"""What the jobs on the embedded world share: where they read and write, and their shrunk form."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from opsnet.sweep.launch import Job, run_locally
from opsnet.sweep.report import Report

COUNTS = {"train": 64, "val": 16, "test": 16, "labels": 16}


def data_folder(*, shrunk: bool = False) -> Path:
    """Where data lie: ``OPSNET_DATA``, those of the shrunk form in a folder of their own."""
    folder = Path(os.environ.get("OPSNET_DATA", "data"))
    return folder / "smoke" if shrunk else folder


def runs_folder() -> Path:
    """Where runs are written: ``OPSNET_RUNS``."""
    return Path(os.environ.get("OPSNET_RUNS", "runs"))


def smoke() -> dict[str, list[str]]:
    """Overrides by step that shrink everything: they show that the parts fit, not what the method can do."""
    data = f"paths.data={data_folder(shrunk=True)}"
    return {
        "clip": ["stage_steps=[30,20]", "prepare.count=600", data, "warmup=10"],
        "world": [data, *(f"data.module.prepare.{name}={count}" for name, count in COUNTS.items())],
        "train": ["trainer.max_epochs=3", "trainer.check_val_every_n_epoch=3"],
        "fine_tuning": ["trainer.max_steps=8", "trainer.check_val_every_n_epoch=1"],
    }


def command(module: str, arguments: list[str]) -> list[str]:
    """The command line of a module of the project."""
    return [sys.executable, "-m", f"opsnet.{module}", *arguments]


def draw_scenes(seed: int, *, shrunk: bool) -> list[str]:
    """The command line that draws the domains of a seed; done within a moment where they are there."""
    root = data_folder(shrunk=shrunk) / f"scenes_{seed}"
    counts = [f"--{name}={count}" for name, count in COUNTS.items()] if shrunk else []
    return command("miniature.scenes", [str(root), f"--seed={seed}", *counts])


def side_by_side(jobs: list[Job], hint: str) -> None:
    """Runs the jobs that are not finished, two at a time on a thread each; ends with ``hint`` where one fails."""
    os.environ["OMP_NUM_THREADS"] = "1"  # two jobs with two threads each hinder one another badly
    left = [job for job in jobs if not job.finished()]
    report = Report(jobs, skipped=len(jobs) - len(left))
    try:
        run_locally(left, 2, None, report)
    finally:
        report.close()
    if report.failed:
        sys.exit(hint)
