"""How time and peak memory grow with image size, class names, proposals, settings and images.

Usage: python -m scripts.benchmarks growth [--only NAME ...] [--small] [--rounds 3] [--large CHECKPOINT] [--json]

Each row of scripts/benchmarks/growing.py runs at several sizes, in turns. The exponent is the slope of a line through
the logarithms of sizes and of the least CPU times; memory is the peak above what the process had before. The bounds
stand in the table "Growth" of docs/benchmarks.md; if an exponent is above its bound, the row is named and the exit
status is 1. ``--large`` also predicts an image of 95 megapixels, with the limits of that page.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from opsnet.utils.errors import InputError, exit_on_user_error
from scripts.benchmarks.growing import WORKS, Work, memory, predict_large, reset_peak

PAGE = Path(__file__).parents[2] / "docs" / "benchmarks.md"
LEAST_MB = 1.0  # below, the peak is that of pages that the allocator happens to take
LARGE_SECONDS, LARGE_GB = 20.0, 3.0


@dataclass(frozen=True)
class Growth:
    """CPU seconds and MB at each size, the exponents, and the largest exponents allowed."""

    name: str
    sizes: tuple[float, ...]
    seconds: tuple[float, ...]
    megabytes: tuple[float, ...]
    bounds: tuple[float, float]

    @property
    def exponents(self) -> tuple[float, float]:
        """Of time and of memory."""
        return exponent(self.sizes, self.seconds), exponent(self.sizes, self.megabytes)

    def excess(self) -> list[str]:
        """A sentence for each exponent above its bound."""
        kinds = zip(("time", "memory"), self.exponents, self.bounds)
        return [
            f"{self.name}: {kind} grows with exponent {found:.2f}, above its bound of {bound:g} in docs/benchmarks.md"
            for kind, found, bound in kinds
            if found > bound
        ]


def exponent(sizes: Sequence[float], values: Sequence[float]) -> float:
    """Slope of log(value) over log(size), by least squares: 1 if values are proportional to sizes."""
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def read_bounds(page: Path = PAGE) -> dict[str, tuple[float, float]]:
    """The bounds of time and memory by row, from the table whose first columns are name, time at most, memory at most.

    Raises:
        InputError: a bound is not a number, or the table is missing.
    """
    bounds = {}
    _, _, section = page.read_text().partition("\n## Growth\n")
    for line in section.partition("\n## ")[0].splitlines():
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        if cells and cells[0].startswith("`"):
            try:
                bounds[cells[0].strip("`")] = (float(cells[1]), float(cells[2]))
            except (ValueError, IndexError) as error:
                raise InputError(f"{page}: the bounds of {cells[0]} must be two numbers, got {cells[1:3]}") from error
    if not bounds:
        raise InputError(f"{page} has no table of bounds below '## Growth': restore it")
    return bounds


def measure(name: str, work: Work, sizes: Sequence[float], rounds: int, bounds: tuple[float, float]) -> Growth:
    """Runs a row: once per size for its memory, then ``rounds`` times, with the sizes in turns, for its time."""
    runs = [work.prepare(size) for size in sizes]
    megabytes = tuple(peak_megabytes(run) for run in runs)
    seconds = [math.inf] * len(runs)
    for _ in range(rounds):
        for i, run in enumerate(runs):
            start = time.process_time()
            run()
            seconds[i] = min(seconds[i], time.process_time() - start)
    return Growth(name, tuple(sizes), tuple(seconds), megabytes, bounds)


def peak_megabytes(run: Callable[[], object]) -> float:
    """Peak resident memory of a call above that before it, at least :data:`LEAST_MB`."""
    reset_peak()
    before = memory()["VmRSS"]
    run()
    return max(LEAST_MB, (memory()["VmHWM"] - before) / 1024)


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints a table, or json with ``--json``; exits with status 1 if something grows faster than its bound."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.benchmarks growth", description=(__doc__ or "").split("\n\n")[0]
    )
    parser.add_argument("--only", nargs="+", choices=list(WORKS), metavar="NAME", help=", ".join(WORKS))
    parser.add_argument("--small", action="store_true", help="small sizes, to try the script")
    parser.add_argument("--rounds", type=int, default=3, help="timed rounds")
    parser.add_argument("--large", type=Path, metavar="CHECKPOINT", help="predict 95 megapixels with it too")
    parser.add_argument("--json", action="store_true", help="print json instead of a table")
    options = parser.parse_args(arguments)
    with exit_on_user_error():
        if not Path("/proc/self/clear_refs").exists():
            raise InputError("peak memory is read from /proc/self, which does not exist here: use Linux")
        torch.set_num_threads(1)
        bounds = read_bounds()
        large = predict_large(options.large) if options.large else None  # first: its memory is the whole process'
        rows = [_row(name, bounds, options) for name in options.only or WORKS]
    problems = [sentence for row in rows for sentence in row.excess()]
    if large and (large.seconds > LARGE_SECONDS or large.gigabytes > LARGE_GB):
        problems.append(f"95 megapixels: above the limits of {LARGE_SECONDS:g} s and {LARGE_GB:g} GB")
    if options.json:
        found = [{**asdict(row), "exponents": row.exponents} for row in rows]
        print(json.dumps({"rows": found, "large": large and asdict(large), "problems": problems}, indent=2))
    else:
        _print(rows)
        if large:
            print(f"95 megapixels: {large.seconds:.1f} s, {large.gigabytes:.2f} GB in total, {large.segments} segments")
    if problems:
        sys.exit("\n".join(problems))


def _row(name: str, bounds: Mapping[str, tuple[float, float]], options: argparse.Namespace) -> Growth:
    if name not in bounds:
        raise InputError(f"docs/benchmarks.md has no bounds for {name}: add a row to its table 'Growth'")
    work = WORKS[name]
    return measure(name, work, work.small if options.small else work.sizes, options.rounds, bounds[name])


def _print(rows: Sequence[Growth]) -> None:
    table = Table("row", "sizes", "ms", "MB", "exponent of time", "of memory")
    for row in rows:
        (time_, memory), (most_time, most_memory) = row.exponents, row.bounds
        table.add_row(
            row.name, *(" ".join(f"{v:.3g}" for v in values) for values in (
                row.sizes, [1000 * s for s in row.seconds], row.megabytes)),
            f"{time_:.2f} (at most {most_time:g})", f"{memory:.2f} (at most {most_memory:g})",
        )  # fmt: skip
    Console(width=None if sys.stdout.isatty() else 160).print(table)
