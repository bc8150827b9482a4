"""Shared by the jobs in the synthetic world: folders for reading and writing, and the shortened form."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from opsnet.sweep.launch import Job, run_locally
from opsnet.sweep.report import Report

COUNTS = {"train": 64, "val": 16, "test": 16, "labels": 16}


def data_folder(*, shrunk: bool = False) -> Path:
    """Folder of the data, ``OPSNET_DATA``; the shortened form has its own folder in it."""
    folder = Path(os.environ.get("OPSNET_DATA", "data"))
    return folder / "smoke" if shrunk else folder


def runs_folder() -> Path:
    """Folder of the runs, ``OPSNET_RUNS``."""
    return Path(os.environ.get("OPSNET_RUNS", "runs"))


def smoke() -> dict[str, list[str]]:
    """Overrides per step that shorten everything; they test that the parts work together, not the method."""
    data = f"paths.data={data_folder(shrunk=True)}"
    return {
        "clip": ["stage_steps=[30,20]", "prepare.count=600", data, "warmup=10"],
        "world": [data, *(f"data.module.prepare.{name}={count}" for name, count in COUNTS.items())],
        "train": ["trainer.max_epochs=3", "trainer.check_val_every_n_epoch=3"],
        "fine_tuning": ["trainer.max_steps=8", "trainer.check_val_every_n_epoch=1"],
    }


def command(module: str, arguments: list[str]) -> list[str]:
    """The command line of a module of opsnet."""
    return [sys.executable, "-m", f"opsnet.{module}", *arguments]


def draw_scenes(seed: int, *, shrunk: bool) -> list[str]:
    """The command line that draws the domains of a seed, which returns immediately if they exist."""
    root = data_folder(shrunk=shrunk) / f"scenes_{seed}"
    counts = [f"--{name}={count}" for name, count in COUNTS.items()] if shrunk else []
    return command("miniature.scenes", [str(root), f"--seed={seed}", *counts])


def side_by_side(jobs: list[Job], hint: str) -> None:
    """Runs unfinished jobs, two at a time with one thread each; exits with ``hint`` if one fails."""
    os.environ["OMP_NUM_THREADS"] = "1"  # two jobs with two threads each are much slower
    left = [job for job in jobs if not job.finished()]
    report = Report(jobs, skipped=len(jobs) - len(left))
    try:
        run_locally(left, 2, None, report)
    finally:
        report.close()
    if report.failed:
        sys.exit(hint)
