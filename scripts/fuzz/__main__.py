"""Feeds mutated inputs to every reader of user files: ``make fuzz``.

Usage: python -m scripts.fuzz [--cases N] [--only TARGET ...] [--first SEED] [--workers 2] [--resume] [--output FOLDER]

A case is made from a seed, so that any can be run again. It must be accepted, or refused as a command does it: with one
sentence that names a file or key. What fails is anything else: a traceback, a longer or unreadable message, more than
5 s, more than 2 GB, a file written outside the case's folder or a watched file read. Failures are made smaller and
saved in FOLDER/failures, the table in FOLDER/report.md (runs/fuzz by default); the exit status is then 1. --resume
leaves out what an interrupted run of the same arguments has finished.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from scripts.fuzz import targets
from scripts.fuzz.failures import Failures
from scripts.fuzz.judge import GIGABYTES, SECONDS
from scripts.fuzz.pool import Chunk, Pool
from scripts.fuzz.report import Journal, machine, table
from scripts.fuzz.targets import Target

CHUNK = 250
"""Cases per process: what one leaves behind in memory must not be counted for all that follow."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the fuzz; returns the exit status."""
    given = _parser().parse_args(arguments)
    chosen = [targets.load(name) for name in given.only or targets.available()]
    _warm_up(chosen)
    with tempfile.TemporaryDirectory(prefix="opsnet_fuzz_") as temporary:
        pool = Pool(Path(temporary), given.workers, SECONDS, GIGABYTES)
        return run(chosen, pool, given.output, cases=given.cases, first=given.first, resume=given.resume)


def run(
    chosen: Sequence[Target], pool: Pool, output: Path, *, cases: int | None = None, first: int = 0,
    resume: bool = False
) -> int:  # fmt: skip
    """Runs the cases of all targets, writes the report and returns the exit status.

    Args:
        chosen: the targets.
        pool: of processes.
        output: folder of report, journal and failures.
        cases: per target; ``None``: those of a full run.
        first: the first seed.
        resume: leave out what the journal holds.
    """
    journal = Journal(output / "journal.jsonl", resume=resume)
    failures = output / "failures"
    if not resume:
        shutil.rmtree(failures, ignore_errors=True)
    start = said = time.monotonic()
    chunks = [c for target in chosen for c in _chunks(target, cases, first) if not journal.has(c)]
    total, done, found = sum(chunk.count for chunk in chunks), 0, Failures(pool, failures)
    for chunk in pool.run(chunks):
        journal.add(chunk)
        done += chunk.count
        found.take(chunk)
        if time.monotonic() - said > 10:
            said = time.monotonic()
            print(f"{said - start:4.0f} s: {done:,} of {total:,} cases, {journal.failures} failures", flush=True)
    text = f"{machine()}; {time.monotonic() - start:.0f} s with {pool.workers} processes\n\n{table(journal.rows)}"
    (output / "report.md").write_text(text, encoding="utf-8")
    print(text)
    if journal.failures:
        found.save()
        print(f"{journal.failures} failures, one of each kind saved in {failures}", file=sys.stderr)
    return 1 if journal.failures else 0


def _chunks(target: Target, cases: int | None, first: int) -> Iterator[Chunk]:
    last = first + (targets.CASES.get(target.name, 0) if cases is None else cases)
    for start in range(first, last, CHUNK):
        yield Chunk(target, start, min(CHUNK, last - start))


def _warm_up(chosen: Sequence[Target]) -> None:
    """Runs a case of each target here, so that the processes begin with all libraries loaded."""
    import torch

    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"
    for target in chosen:
        with tempfile.TemporaryDirectory() as folder, open(os.devnull, "w") as nothing:
            stdout, stderr = sys.stdout, sys.stderr
            sys.stdout = sys.stderr = nothing
            try:
                target.warm_up()
                target.run(target.case(0), Path(folder))
            except BaseException:  # whatever it is, the processes will say so
                pass
            finally:
                sys.stdout, sys.stderr = stdout, stderr


def _parser() -> argparse.ArgumentParser:
    shape = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m scripts.fuzz", description=__doc__, formatter_class=shape)
    parser.add_argument("--cases", type=int, help=f"per target; by default {sum(targets.CASES.values()):,} in all")
    parser.add_argument("--only", nargs="+", choices=targets.available(), help="targets, by default all")
    parser.add_argument("--first", type=int, default=0, help="first seed, by default 0")
    parser.add_argument("--workers", type=int, default=2, help="processes, by default 2")
    parser.add_argument("--resume", action="store_true", help="leave out what an interrupted run has finished")
    parser.add_argument("--output", type=Path, default=Path("runs/fuzz"), help="folder, by default runs/fuzz")
    return parser


if __name__ == "__main__":
    sys.exit(main())
