"""Injects faults into running commands and judges what follows: ``make faults``.

Usage: python -m scripts.faults [--only train,TERM] [--workers 2] [--limit 120] [--folder runs/faults]

Each cell is one fault and one command: the command runs as a user starts it, in a small world on the CPU; the fault
comes when it is in the middle of its work; it is then run again without the fault. A cell is ok if no traceback was
shown, nothing hung, all files on disk are whole, no more was lost than lies between two saves, and the final result
equals that of a run that nothing disturbed. The report has a table; the exit status is 1 if a cell is bad, whose logs
are kept. Linux only; a full disk and a read-only filesystem are mounted, which needs root.
"""

from __future__ import annotations

import argparse
import shlex
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from scripts.faults import world as worlds
from scripts.faults.cell import Judged, run_cell, run_undisturbed
from scripts.faults.injectors import Fault, all_faults
from scripts.faults.jobs import JOBS, Job, Train
from scripts.faults.judging import GOOD, LATE, Problem
from scripts.faults.table import matrix, write_report
from scripts.faults.world import World

Cell = tuple[Fault, Job]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the chosen cells; 1 if one is bad."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    options = _parse(given)
    start = time.monotonic()
    cells = chosen(options.only)
    work = options.folder.resolve() / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    jobs = list(dict.fromkeys(job for _, job in cells))
    world, undisturbed = prepare(jobs, work, options.workers, options.limit)
    judged = _run(cells, world, undisturbed, options)
    report = options.folder / "report.md"
    notes = list(dict.fromkeys(fault.note() for fault, _ in cells if fault.note()))
    command = shlex.join(["python", "-m", "scripts.faults", *given])
    write_report(report, judged, command=command, seconds=time.monotonic() - start, notes=notes)
    shutil.rmtree(work)
    bad = [cell for cell in judged if cell.verdict not in GOOD]
    print(matrix(judged).markdown())
    print(f"{report}: {len(judged)} cells, {len(bad)} bad, {(time.monotonic() - start) / 60:.1f} minutes")
    return int(bool(bad))


def chosen(only: str) -> list[Cell]:
    """The cells whose fault and command are among the names given, of each kind all if none is given.

    Raises:
        SystemExit: a name is unknown.
    """
    names = [name.strip() for name in only.split(",") if name.strip()]
    faults, jobs = all_faults(), JOBS
    unknown = set(names) - {fault.name for fault in faults} - {job.name for job in jobs}
    if unknown:
        known = ", ".join([*(job.name for job in jobs), *(fault.name for fault in faults)])
        raise SystemExit(f"--only has no {min(unknown)}: give names out of {known}")
    rows = [fault for fault in faults if fault.name in names] or list(faults)
    columns = [job for job in jobs if job.name in names] or list(jobs)
    return [(fault, job) for fault in rows for job in columns]


def prepare(
    jobs: Sequence[Job], work: Path, workers: int, limit: float
) -> tuple[World, Mapping[str, Mapping[str, Any]]]:
    """The world, and the result of each command without a fault, by its name."""
    print("drawing the world, training a network", flush=True)
    world = worlds.draw_world(work / "world")
    first = Train()
    results = {first.name: run_undisturbed(first, world, work / first.name, limit=limit)}
    worlds.lenient(first.folder(work / first.name / "out") / "checkpoints" / "last.ckpt", world.checkpoint)
    rest = [job for job in jobs if job.name not in results]
    with ThreadPoolExecutor(workers) as pool:
        found = pool.map(lambda job: run_undisturbed(job, world, work / job.name, limit=limit), rest)
        results |= dict(zip((job.name for job in rest), found, strict=True))
    print(f"undisturbed runs: {', '.join(results)}", flush=True)
    return world, results


def _run(
    cells: Sequence[Cell], world: World, undisturbed: Mapping[str, Mapping[str, Any]], options: argparse.Namespace
) -> list[Judged]:
    done = 0

    def run(cell: Cell) -> Judged:
        nonlocal done
        fault, job = cell
        folder = options.folder.resolve() / "cells" / f"{job.name}.{fault.name.replace(' ', '_').replace(',', '')}"
        try:
            judged = run_cell(fault, job, world, undisturbed[job.name], folder, limit=options.limit)
        except Exception as error:  # a fault of this script must not hide the other cells
            problem = Problem(LATE, f"the cell failed: {type(error).__name__}: {error}")
            judged = Judged(fault.name, job.name, LATE, problem.sentence, problems=(problem,))
        done += 1
        _show(judged, done, len(cells))
        return judged

    with ThreadPoolExecutor(options.workers) as pool:
        try:
            return list(pool.map(run, cells))
        except KeyboardInterrupt:  # the cells that are running must still clean up
            pool.shutdown(cancel_futures=True)
            raise


def _show(cell: Judged, done: int, total: int) -> None:
    print(
        f"[{done}/{total}] {cell.fault}, {cell.job}: {cell.verdict} ({cell.seconds:.0f} s) {cell.outcome}", flush=True
    )
    for problem in cell.problems:
        print(f"    {problem.kind}: {problem.sentence}", flush=True)


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0], prog="python -m scripts.faults")
    parser.add_argument(
        "--only", default="", help="names of faults and commands with commas between them, e.g. train,TERM"
    )
    parser.add_argument("--workers", type=int, default=2, help="cells at once")
    parser.add_argument("--limit", type=float, default=120, help="seconds after which a run hangs")
    parser.add_argument(
        "--folder", type=Path, default=Path("runs/faults"), help="for report.md and the logs of bad cells"
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
