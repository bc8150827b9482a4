"""Sweeps of ``opsnet-train -m``: Hydra lists the jobs, ``opsnet.sweep.launch`` runs each as a separate process."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from opsnet.sweep.cluster import submit, wait_for
from opsnet.sweep.launch import Job, Outcome, key_of, quoted, run_locally
from opsnet.sweep.report import Report
from opsnet.utils.errors import InputError
from opsnet.utils.run_yaml import read_run_yaml, run_value

RUNTIME_KEYS = ("launcher", "skip_done", "resume")  # they affect how a job is run, not its identity
SWEEP_ONLY = (  # Hydra overrides that are not passed on to jobs
    "hydra.sweep", "hydra.launcher", "hydra/sweeper", "hydra/launcher", "hydra.mode", "hydra.run",
    "hydra.output_subdir",
)  # fmt: skip
PLAIN = ("hydra._internal.core_plugins.basic_launcher.", "hydra._internal.core_plugins.basic_sweeper.")


class FindSweep(Callback):
    """Hydra callback before a sweep: protects existing job folders, and finds the sweep to resume."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Sets ``hydra.sweep.dir`` to the newest sweep of the same jobs if ``skip_done=true``."""
        more = ["hydra.output_subdir=null"]  # the job writes it itself; until then the existing one identifies the job
        given = [key_of(override) for override in config.hydra.overrides.hydra]
        if config.skip_done and "hydra.sweep.dir" not in given:
            home = Path(config.hydra.sweep.dir).parent
            found = newest_sweep(home, config.hydra.overrides.task)
            if found is None:
                print(f"skip_done=true found no sweep of these jobs in {home}: starting from scratch")
            else:
                print(f"skip_done=true resumes {found}")
                more.append(quoted("hydra.sweep.dir", found))
        with read_write(config), open_dict(config):
            config.hydra.overrides.hydra = [*config.hydra.overrides.hydra, *more]
            if len(more) > 1:
                config.hydra.sweep.dir = str(found)


def identity(overrides: Iterable[str]) -> list[str]:
    """The overrides that identify a job, without those that only affect how it is run."""
    return [o for o in overrides if key_of(o).partition(".")[0] not in RUNTIME_KEYS]


def newest_sweep(home: Path, overrides: Iterable[str]) -> Path | None:
    """The folder in ``home`` of the sweep that was last started with the same overrides."""
    wanted = identity(overrides)
    for path in sorted(home.glob("*/multirun.yaml"), key=lambda p: p.stat().st_mtime, reverse=True):
        if identity(_overrides(run_value(path, "hydra.overrides.task"))) == wanted:
            return path.parent
    return None


def _overrides(stored: Any) -> list[str]:
    """The overrides in a run's yaml; empty if it has something else there."""
    return [text for text in stored if isinstance(text, str)] if isinstance(stored, list) else []


class Sweep:
    """Collects the jobs that Hydra lists, and runs them."""

    def __init__(self) -> None:
        self.jobs: list[tuple[Job, dict[str, Any]]] = []
        self.launcher = "local"
        self.skip_done = False

    def add(self, cfg: DictConfig) -> Any:
        """Hydra's task in MULTIRUN mode: records the job, to be run when all jobs are known.

        With one of Hydra's own launchers or sweepers, which wait for the result, runs the job and returns its metrics.

        Raises:
            InputError: the job's folder contains something else, or such a job failed.
        """
        hydra = HydraConfig.get()
        overrides = [o for o in hydra.overrides.task if key_of(o).partition(".")[0] not in RUNTIME_KEYS[:2]]
        own = [o for o in hydra.overrides.hydra if not key_of(o).startswith(SWEEP_ONLY)]
        job = Job(
            int(hydra.job.num),
            Path(hydra.runtime.output_dir),
            tuple(overrides),
            (*_flags(hydra), *own),
        )
        check_folder(job, skip_done=cfg.skip_done)
        if not (hydra.launcher._target_.startswith(PLAIN) and hydra.sweeper._target_.startswith(PLAIN)):
            return _run_now(job)
        self.launcher, self.skip_done = hydra.runtime.choices["launcher"], cfg.skip_done
        self.jobs.append((job, OmegaConf.to_container(cfg.launcher, resolve=True)))  # type: ignore[arg-type]
        return None

    def run(self) -> int:
        """Runs the recorded jobs; returns the exit code: 1 if one failed.

        Raises:
            KeyboardInterrupt, Stopped: a signal came; the jobs have written their checkpoints and ended.
        """
        if not self.jobs:
            return 0
        left = [(job, queue) for job, queue in self.jobs if not job.finished()]
        report = Report([job for job, _ in self.jobs], skipped=len(self.jobs) - len(left))
        try:
            self._launch(left, report)
        finally:
            report.close()
        return 1 if report.failed else 0

    def _launch(self, left: list[tuple[Job, dict[str, Any]]], report: Report) -> None:
        if not left:
            return
        if self.launcher == "local":
            queue = left[0][1]
            run_locally([job for job, _ in left], queue["jobs"], queue["gpus_per_job"], report)
            return
        handles, jobs = [], []
        for queue in _different([queue for _, queue in left]):  # jobs with equal resources form one array
            alike = [job for job, own in left if own == queue]
            handles += submit(alike, self.launcher.removeprefix("submitit_"), queue)
            jobs += alike
        wait_for(handles, jobs, report)


def _different(queues: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [queue for i, queue in enumerate(queues) if queue not in queues[:i]]


def _flags(hydra: Any) -> list[str]:
    """The command-line flags that are not overrides."""
    folders = [source.path for source in hydra.runtime.config_sources if source.provider == "command-line"]
    return [f"--config-name={hydra.job.config_name}", *(f"--config-dir={folder}" for folder in folders)]


def _run_now(job: Job) -> Any:
    outcomes: list[Outcome] = []
    if not job.finished():
        run_locally([job], 1, None, outcomes.append)
    if outcomes and outcomes[0].cause is not None:
        raise InputError(f"job {job.number} in {job.folder} failed: {outcomes[0].cause}")
    return json.loads((job.folder / "results.json").read_text(encoding="utf-8"))["metrics"]


def check_folder(job: Job, *, skip_done: bool) -> None:
    """Checks that the job may use its folder.

    Raises:
        InputError: it contains a run that would be overwritten, or another job.
    """
    started = job.checkpoint.is_file() or (job.folder / "results.json").is_file()
    if started and not skip_done:
        raise InputError(
            f"{job.folder} already contains a run: add skip_done=true to resume it, or give another hydra.sweep.dir"
        )
    path = job.folder / ".hydra" / "overrides.yaml"
    known = read_run_yaml(path) if started else None
    before = identity(_overrides(known)) if isinstance(known, list) else None
    if before is not None and sorted(before) != sorted(identity(job.overrides)):
        raise InputError(
            f"{job.folder} contains another job ({' '.join(before)}): resume with the same list of jobs, "
            "or give another hydra.sweep.dir"
        )


def check_single(cfg: DictConfig) -> None:
    """Checks that a single run has no options that are only for sweeps.

    Raises:
        InputError: it has one.
    """
    launcher = HydraConfig.get().runtime.choices["launcher"]
    if cfg.skip_done or launcher != "local":
        asked = "skip_done=true" if cfg.skip_done else f"launcher={launcher}"
        raise InputError(f"{asked} is only for sweeps: add -m (also for a single job)")


def is_sweep() -> bool:
    """Whether Hydra runs the current task as a job of a sweep."""
    return bool(HydraConfig.get().mode == RunMode.MULTIRUN)
