"""The jobs of a sweep as processes of their own: on this machine, or sent to SLURM through submitit.

A job never runs inside the sweep's process: Lightning's DDP starts the other ranks with the command line of the
process that it finds itself in, and would start the whole sweep again.
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
from types import FrameType

GRACE = 60.0  # seconds between the request to stop and the end by force: time to write a checkpoint
RANKS = {"RANK", "LOCAL_RANK", "GROUP_RANK", "NODE_RANK", "ROLE_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE"}
RANKS |= {"GROUP_WORLD_SIZE", "ROLE_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "PL_GLOBAL_SEED"}
LAUNCHER_VARIABLES = ("TORCHELASTIC_", "SLURM_")


@dataclass(frozen=True)
class Job:
    """One job: its number, its folder, the overrides that make it (Hydra's own ones apart), and its command."""

    number: int
    folder: Path
    overrides: tuple[str, ...]
    hydra: tuple[str, ...] = ()
    module: str = "opsnet.train"

    @property
    def checkpoint(self) -> Path:
        """Where the job's last checkpoint lies, once there is one."""
        return self.folder / "checkpoints" / "last.ckpt"

    @property
    def log(self) -> Path:
        """What the job printed."""
        return self.folder / "job.log"

    def finished(self) -> bool:
        """Whether ``results.json`` tells that the job came to its end."""
        try:
            return bool(json.loads((self.folder / "results.json").read_text(encoding="utf-8"))["metrics"])
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def command(self) -> list[str]:
        """The single run that is the job; it goes on from the job's own last checkpoint if there is one."""
        overrides = list(self.overrides)
        if self.checkpoint.is_file():
            overrides = [o for o in overrides if key_of(o) != "resume"] + [quoted("resume", self.checkpoint)]
        place = [quoted("hydra.run.dir", self.folder), "hydra.mode=RUN"]
        return [sys.executable, "-m", self.module, *self.hydra, *overrides, *place]


@dataclass(frozen=True)
class Outcome:
    """How a job ended; ``cause`` is ``None`` where it finished, ``tail`` the end of an unexplained log."""

    job: Job
    seconds: float
    cause: str | None = None
    tail: str = ""


def key_of(override: str) -> str:
    """``+a.b=3`` -> ``a.b``."""
    return override.partition("=")[0].lstrip("+~")


def quoted(key: str, value: object) -> str:
    """An override whose value Hydra's grammar takes as it stands."""
    text = str(value).replace("'", "\\'")
    return f"{key}='{text}'"


def environment(given: Mapping[str, str]) -> dict[str, str]:
    """The environment of a job: nothing in it says that the process is a rank of another training."""
    return {k: v for k, v in given.items() if k not in RANKS and not k.startswith(LAUNCHER_VARIABLES)}


class Process:
    """A job that runs, in a process group of its own."""

    def __init__(self, job: Job, extra: dict[str, str], node: int = 0) -> None:
        """Starts the job.

        Args:
            extra: environment variables of the job.
            node: which of the job's nodes this is; the first one's processes write the results.
        """
        self.job = job
        self.log = job.log.with_suffix(f".{node}.log") if node else job.log
        self._node = node
        self._start = time.monotonic()
        job.folder.mkdir(parents=True, exist_ok=True)
        self._offset = self.log.stat().st_size if self.log.is_file() else 0
        with self.log.open("ab") as out:
            self._process = subprocess.Popen(
                job.command(),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=environment(os.environ) | extra,
                start_new_session=True,  # Ctrl-C in the terminal reaches the job through stop() alone
            )

    def poll(self) -> Outcome | None:
        """How the job ended; ``None`` while it runs."""
        code = self._process.poll()
        if code is None:
            return None
        self._signal(signal.SIGKILL)  # ranks that outlived the first one
        with self.log.open("rb") as file:
            file.seek(self._offset)
            text = file.read().decode(errors="replace")
        seconds = time.monotonic() - self._start
        if code == 0 and (self._node or self.job.finished()):
            return Outcome(self.job, seconds)
        return Outcome(self.job, seconds, *explain(code, text))

    def interrupt(self) -> None:
        """Asks the job to stop as Ctrl-C does: it writes its checkpoint."""
        self._signal(signal.SIGINT)

    def end(self, until: float) -> None:
        """Waits for the job's end, and forces it at the time ``until`` of the monotonic clock."""
        try:
            while not self._ended() and time.monotonic() < until:
                time.sleep(0.1)
        finally:
            self._signal(signal.SIGKILL)
            self._process.poll()

    def _ended(self) -> bool:
        # Popen.poll() holds a lock that the code which a signal handler interrupted may hold already.
        try:
            return os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        except ChildProcessError:
            return True

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):  # macOS: EPERM for a group of zombies
            os.killpg(self._process.pid, number)


def explain(code: int, text: str) -> tuple[str, str]:
    """(cause, end of the log) of a job that failed with the exit code ``code`` after printing ``text``."""
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
    """Within it SIGTERM ends the program as Ctrl-C does, so that no job outlives its sweep."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    # SIGINT too: a shell starts what runs in the background with SIGINT ignored, and jobs would inherit that.
    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run_locally(jobs: list[Job], at_once: int, gpus_per_job: int | None, report: Callable[[Outcome], None]) -> None:
    """Runs jobs on this machine, ``at_once`` of them together, and reports each one's end."""
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
    """Stops jobs together; those that have not ended after ``GRACE`` seconds, or at another Ctrl-C, by force."""
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
