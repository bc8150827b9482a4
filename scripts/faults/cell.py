"""Runs one cell of the matrix: start, fault, judgement, and the run that continues after it."""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.faults import judging
from scripts.faults.injectors import Fault, Scene
from scripts.faults.jobs import Job
from scripts.faults.judging import Problem
from scripts.faults.processes import Command, Ended
from scripts.faults.world import World


@dataclass(frozen=True)
class Judged:
    """A judged cell.

    Attributes:
        fault, job: row and column.
        verdict: one of the words of :mod:`scripts.faults.judging`.
        outcome: how the command ended and the last thing that it said, or why the fault does not apply.
        lost: work that had to be done again.
        problems: what is wrong.
        seconds: of the whole cell.
    """

    fault: str
    job: str
    verdict: str
    outcome: str = ""
    lost: str = ""
    problems: tuple[Problem, ...] = ()
    seconds: float = 0.0


def run_undisturbed(job: Job, world: World, folder: Path, *, limit: float) -> Mapping[str, Any]:
    """The result of a command that nothing disturbs, with which the others are compared.

    Raises:
        RuntimeError: it failed.
    """
    folder.mkdir(parents=True)
    out = folder / "out"
    ended = Command(job.command(world, out), log=folder / "log.txt", temporary=folder / "tmp").wait(limit)
    if ended.code != 0:
        raise RuntimeError(f"{job.name} without a fault ended with {ended.code}: {judging.last_line(ended.text)}")
    return job.result(out)


def run_cell(
    fault: Fault, job: Job, world: World, undisturbed: Mapping[str, Any], folder: Path, *, limit: float
) -> Judged:
    """Injects a fault into a command and judges what follows.

    Args:
        fault, job: row and column.
        world: copied into the cell.
        undisturbed: result of the command without fault.
        folder: a new one; logs stay in it if the verdict is bad.
        limit: seconds for each of the two runs.
    """
    if reason := fault.why_not(job):
        return Judged(fault.name, job.name, judging.NOT_APPLICABLE, reason)
    start = time.monotonic()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with fault.place(folder) as out:
        scene = Scene(job, world.copy(folder / "world"), out, folder)
        try:
            judged = _judge(fault, scene, undisturbed, limit)
        finally:
            fault.mend(scene)
    result = Judged(fault.name, job.name, *judged, seconds=time.monotonic() - start)
    if result.verdict == judging.OK:
        shutil.rmtree(folder)
    else:
        shutil.rmtree(folder / "world")
    return result


def _judge(fault: Fault, scene: Scene, undisturbed: Mapping[str, Any], limit: float) -> tuple[Any, ...]:
    """Verdict, outcome, loss and problems."""
    job, out = scene.job, scene.out
    command = _start(scene, "fault", fault.arguments(), fault.prepare(scene))
    injected = not fault.needs_middle or _inject(fault, scene, command, limit)
    ended = command.wait(limit)
    if not injected:
        problem = Problem(judging.LATE, f"it had ended before: {judging.last_line(ended.text)}")
        return judging.LATE, _outcome(ended), "", (problem,)
    problems = judging.problems_of_outcome(ended, (0, *fault.codes), _printed(ended, job, out))
    problems += judging.problems_of_files(out)
    lost, lost_too_much = _loss(fault, scene, ended, undisturbed)
    problems += lost_too_much
    fault.mend(scene)
    if ended.code != 0:
        problems += _run_again(scene, limit)
    problems += _final(job, out, undisturbed)
    return judging.verdict(problems), _outcome(ended), lost, tuple(problems)


def _loss(fault: Fault, scene: Scene, ended: Ended, undisturbed: Mapping[str, Any]) -> tuple[str, list[Problem]]:
    """What an ended command has lost, and what is wrong with that or with the part that it has kept."""
    job, out = scene.job, scene.out
    if ended.code == 0:
        return "nothing", []
    if fault.deletes:
        return "all, with the folder", []
    try:
        made, kept, part = job.made(out, ended.text), job.kept(out), job.partial(out)
    except (OSError, ValueError, KeyError) as error:
        return "unknown", [Problem(judging.LOST, f"what it has kept cannot be read: {error}")]
    lost = max(0, made - kept)
    problems = judging.problems_of_loss(lost, job.interval if fault.abrupt else 1, job.unit)
    return f"{lost} of {made} {job.unit}" if lost else "nothing", problems + judging.problems_of_part(part, undisturbed)


def _start(scene: Scene, name: str, more: list[str], environment: Mapping[str, str], *, again: bool = False) -> Command:
    arguments = [*scene.job.command(scene.world, scene.out, again=again), *more]
    log, temporary = scene.folder / f"{name}.log", scene.folder / "tmp"
    return Command(arguments, log=log, temporary=temporary, environment=environment)


def _inject(fault: Fault, scene: Scene, command: Command, limit: float) -> bool:
    """Waits until the command is in the middle of its work, and injects the fault; ``False`` if it ended before."""
    until = time.monotonic() + limit
    while scene.job.made(scene.out, command.text()) < scene.job.at:
        if command.has_ended() or time.monotonic() > until:
            return False
        time.sleep(0.005)
    command.signal_all(signal.SIGSTOP)
    try:
        if command.has_ended():
            return False
        fault.inject(scene, command)
    finally:
        command.signal_all(signal.SIGCONT)
    return True


def _run_again(scene: Scene, limit: float) -> list[Problem]:
    """Continues without the fault."""
    ended = _start(scene, "again", [], {}, again=True).wait(limit)
    problems = judging.problems_of_outcome(ended, (0,), _printed(ended, scene.job, scene.out))
    lost = [Problem(judging.LOST, f"the run after it ended with {ended.code}: {judging.last_line(ended.text)}")]
    return [*problems, *(lost if ended.code != 0 else [])]


def _final(job: Job, out: Path, undisturbed: Mapping[str, Any]) -> list[Problem]:
    problems = judging.problems_of_files(out)
    try:
        return problems + judging.problems_of_result(job.result(out), undisturbed)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        return [*problems, Problem(judging.LOST, f"there is no final result: {error}")]


def _printed(ended: Ended, job: Job, out: Path) -> str:
    """What a command printed, with the logs of a sweep's jobs."""
    logs = [log.read_text(encoding="utf-8", errors="replace") for log in sorted(job.folder(out).glob("*/job.log"))]
    return "\n".join([*logs, ended.text])


def _outcome(ended: Ended) -> str:
    if ended.code is not None and ended.code <= 0:  # its last line is whatever it was doing, or a result
        return f"exit {ended.code}"
    code = "stopped by the limit" if ended.code is None else f"exit {ended.code}"
    return f"{code}: {judging.last_line(ended.text)}"
