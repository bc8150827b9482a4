"""Runs the jobs of a sweep as separate processes: on this machine, or submitted to SLURM through submitit.

A job never runs inside the sweep's process: Lightning's DDP starts the other ranks with the command line of the current
process, and would start the whole sweep again.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from opsnet.utils.stop_signals import Stopped, end_with_parent, stop_handler

GRACE = 60.0  # seconds between interrupting and killing a job: time to write a checkpoint
RANKS = {"RANK", "LOCAL_RANK", "GROUP_RANK", "NODE_RANK", "ROLE_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE"}
RANKS |= {"GROUP_WORLD_SIZE", "ROLE_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "PL_GLOBAL_SEED"}
LAUNCHER_VARIABLES = ("TORCHELASTIC_", "SLURM_")


@dataclass(frozen=True)
class Job:
    """One job: its number, its folder, its overrides (except Hydra's own), and its command."""

    number: int
    folder: Path
    overrides: tuple[str, ...]
    hydra: tuple[str, ...] = ()
    module: str = "opsnet.train"

    @property
    def checkpoint(self) -> Path:
        """The path of the job's last checkpoint, which may not exist yet."""
        return self.folder / "checkpoints" / "last.ckpt"

    @property
    def log(self) -> Path:
        """The file with the job's output."""
        return self.folder / "job.log"

    def finished(self) -> bool:
        """Whether ``results.json`` marks the job as finished."""
        try:
            return bool(json.loads((self.folder / "results.json").read_text(encoding="utf-8"))["metrics"])
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def command(self) -> list[str]:
        """The command line of the job as a single run; it resumes from the job's newest whole checkpoint, if any."""
        overrides = list(self.overrides)
        if any(self.checkpoint.parent.glob("*.ckpt")):
            overrides = [o for o in overrides if key_of(o) != "resume"] + ["resume=auto"]
        place = [quoted("hydra.run.dir", self.folder), "hydra.mode=RUN"]
        return [sys.executable, "-m", self.module, *self.hydra, *overrides, *place]


@dataclass(frozen=True)
class Outcome:
    """How a job ended; ``cause`` is ``None`` if it finished, ``tail`` the end of the log if the cause is unclear."""

    job: Job
    seconds: float
    cause: str | None = None
    tail: str = ""


def key_of(override: str) -> str:
    """``+a.b=3`` -> ``a.b``."""
    return override.partition("=")[0].lstrip("+~")


def quoted(key: str, value: object) -> str:
    """An override whose value is quoted for Hydra's grammar."""
    text = str(value).replace("'", "\\'")
    return f"{key}='{text}'"


def environment(given: Mapping[str, str]) -> dict[str, str]:
    """The environment of a job, without variables that mark the process as a rank of another training."""
    return {k: v for k, v in given.items() if k not in RANKS and not k.startswith(LAUNCHER_VARIABLES)}


class Process:
    """A running job in its own process group; if this process is killed, the job receives SIGTERM (Linux)."""

    def __init__(self, job: Job, extra: dict[str, str], node: int = 0) -> None:
        """Starts the job.

        Args:
            extra: additional environment variables of the job.
            node: index of this node among the job's nodes; the processes of the first one write the results.
        """
        self.job = job
        self.log = job.log.with_suffix(f".{node}.log") if node else job.log
        self._node = node
        self._start = time.monotonic()
        self._outcome: Outcome | None = None
        job.folder.mkdir(parents=True, exist_ok=True)
        self._offset = self.log.stat().st_size if self.log.is_file() else 0
        self._output = self.log.open("a+b")  # kept open: what it said can be read even if its folder is removed
        self._process = subprocess.Popen(
            job.command(),
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            env=environment(os.environ) | extra,
            start_new_session=True,  # Ctrl-C in the terminal reaches the job only through interrupt()
            preexec_fn=_end_with_sweep,
        )

    def poll(self) -> Outcome | None:
        """How the job ended; ``None`` while it is running."""
        code = self._process.poll()
        if code is not None and self._outcome is None:
            self._signal(signal.SIGKILL)  # ranks that are still running
            self._outcome = self._judged(code, time.monotonic() - self._start)
        return self._outcome

    def _judged(self, code: int, seconds: float) -> Outcome:
        with self._output as file:
            file.seek(self._offset)
            text = file.read().decode(errors="replace")
        if code == 0 and (self._node or self.job.finished()):
            return Outcome(self.job, seconds)
        return Outcome(self.job, seconds, *explain(code, text))

    def interrupt(self) -> None:
        """Interrupts the job like Ctrl-C, so that it writes its checkpoint."""
        self._signal(signal.SIGINT)

    def end(self, until: float) -> None:
        """Waits for the job to end, and kills it at time ``until`` of the monotonic clock."""
        try:
            while not self._ended() and time.monotonic() < until:
                time.sleep(0.1)
        finally:
            self._signal(signal.SIGKILL)
            self._process.poll()

    def _ended(self) -> bool:
        # Not Popen.poll(), because code that a signal handler has interrupted may already hold its lock.
        try:
            return os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        except ChildProcessError:
            return True

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):  # macOS: EPERM for a group of zombies
            os.killpg(self._process.pid, number)


def _end_with_sweep() -> None:
    end_with_parent(signal.SIGTERM)  # a training then writes its checkpoint


def explain(code: int, text: str) -> tuple[str, str]:
    """(cause, end of the log) of a job that failed with exit code ``code`` and the output ``text``."""
    lines = [line for line in text.splitlines() if line.strip()]
    sentences = [line for line in lines if line.startswith("error: ")]
    if sentences:
        return sentences[-1].removeprefix("error: "), ""
    tail = "\n".join(lines[-12:])
    if code < 0:
        return f"killed by {signal.Signals(-code).name}", tail
    if code == 0:
        return "ended without results.json", tail
    return (lines[-1].strip() if lines else f"exit code {code}"), tail


@contextmanager
def stoppable() -> Iterator[None]:
    """A context in which a stop signal ends the sweep, so that no job outlives it.

    Raises:
        KeyboardInterrupt: at every Ctrl-C.
        Stopped: at the first other signal; schedulers repeat theirs while jobs write their checkpoints.
    """
    received: list[signal.Signals] = []

    def stop(number: signal.Signals) -> None:
        received.append(number)
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        if len(received) == 1:
            raise Stopped(number)

    with stop_handler(stop):
        yield


def run_locally(jobs: list[Job], at_once: int, gpus_per_job: int | None, report: Callable[[Outcome], None]) -> None:
    """Runs jobs on this machine, ``at_once`` of them in parallel, and reports each one when it ends."""
    waiting, running = list(jobs), dict[int, Process]()
    with stoppable():
        try:
            while waiting or running:
                for slot in range(at_once):
                    if slot not in running and waiting:
                        running[slot] = Process(waiting.pop(0), _visible_gpus(slot, gpus_per_job))
                for slot, process in list(running.items()):
                    outcome = process.poll()
                    if outcome is not None:
                        del running[slot]
                        report(outcome)
                time.sleep(0.1)
        finally:
            stop_all(list(running.values()))


def stop_all(processes: list[Process]) -> None:
    """Interrupts all jobs; kills those still running after ``GRACE`` seconds or at another Ctrl-C."""
    for process in processes:
        process.interrupt()
    until = time.monotonic() + GRACE
    for i, process in enumerate(processes):
        try:
            process.end(until)
        except BaseException:
            for rest in processes[i:]:
                rest.end(0)
            raise


def _visible_gpus(slot: int, count: int | None) -> dict[str, str]:
    if count is None:
        return {}
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    first = slot * count
    names = given.split(",")[first : first + count] if given else [str(i) for i in range(first, first + count)]
    return {"CUDA_VISIBLE_DEVICES": ",".join(names)}
