"""What the jobs on the embedded world share: where they read and write, and their shrunk form."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from opsnet.sweep.launch import Job, run_locally
from opsnet.sweep.report import Report

DATA, RUNS = (Path(os.environ.get(k, d)) for k, d in (("OPSNET_DATA", "data"), ("OPSNET_RUNS", "runs")))
COUNTS = {"train": 64, "val": 16, "test": 16, "labels": 16}
# The same path with everything shrunk: it shows that the parts fit, not what the method can do.
SMOKE = {
    "clip": ["stage_steps=[30,20]", "prepare.count=600", f"paths.data={DATA / 'smoke'}", "warmup=10"],
    "counts": [f"--{name}={count}" for name, count in COUNTS.items()],
    "world": [
        f"paths.data={DATA / 'smoke'}",
        *(f"data.module.prepare.{name}={count}" for name, count in COUNTS.items()),
    ],
    "train": ["trainer.max_epochs=3", "trainer.check_val_every_n_epoch=3"],
    "fine_tuning": ["trainer.max_steps=8", "trainer.check_val_every_n_epoch=1"],
}


def command(module: str, arguments: list[str]) -> list[str]:
    """The command line of a command of the project."""
    return [sys.executable, "-m", f"opsnet.{module}", *arguments]


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
