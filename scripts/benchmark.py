"""Times this project against transformers' Mask2Former, the implementation that a user can install, on this machine.

Usage: python scripts/benchmark.py [--only NAME ...] [--rounds 5] [--json]

Both sides get the same random weights and inputs, run in one process in turns, and are compared before they are timed.
Each name has a process of its own: what the allocator keeps of one would speed up or slow down the next. Printed are
medians in milliseconds and their ratio. One thread: two would fight over a small machine. What each name stands for is
in scripts/benchmark_pairs.py.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from opsnet.errors import InputError, one_sentence_errors

sys.path.insert(0, str(Path(__file__).parent))
from benchmark_pairs import BENCHMARKS


@dataclass(frozen=True)
class Timing:
    """Medians in milliseconds."""

    name: str
    ours: float
    peer: float
    agreement: str

    @property
    def ratio(self) -> float:
        """How many times as fast ours is."""
        return self.peer / self.ours


def benchmark(name: str, rounds: int) -> Timing:
    """Both sides of one pair in turns, after a turn to warm up."""
    pair = BENCHMARKS[name]()
    seconds: dict[str, list[float]] = {"ours": [], "peer": []}
    for turn in range(rounds + 1):
        for side, run in (("ours", pair.ours), ("peer", pair.peer)):
            start = time.perf_counter()
            run()
            if turn:
                seconds[side].append(time.perf_counter() - start)
    medians = {side: 1000 * statistics.median(values) for side, values in seconds.items()}
    return Timing(name, medians["ours"], medians["peer"], pair.agreement)


def _alone(name: str, rounds: int) -> Timing:
    """The same in a new process that computes on one thread."""
    with ProcessPoolExecutor(1, get_context("spawn"), torch.set_num_threads, (1,)) as pool:
        return pool.submit(benchmark, name, rounds).result()


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the timings as a table or, with ``--json``, as json."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--only", nargs="+", choices=BENCHMARKS, default=list(BENCHMARKS), metavar="NAME")
    parser.add_argument("--rounds", type=int, default=5, help="timed turns of each side")
    parser.add_argument("--json", action="store_true", help="print json instead of a table")
    options = parser.parse_args(arguments)
    with one_sentence_errors():
        try:
            import transformers
        except ImportError as error:
            raise InputError("the peer is transformers, which is not installed: pip install -e .[dev]") from error
        timings = [_alone(name, options.rounds) for name in track(options.only, "Timing", console=Console(stderr=True))]
    versions = f"torch {torch.__version__}, transformers {transformers.__version__}, {platform.machine()}"
    if options.json:
        rows = [{**asdict(t), "ratio": t.ratio} for t in timings]
        print(json.dumps({"versions": versions, "benchmarks": rows}, indent=2))
        return
    table = Table(
        "benchmark", "ours (ms)", "peer (ms)", "times as fast", "agreement", title="One thread", caption=versions
    )
    for t in timings:
        table.add_row(t.name, f"{t.ours:.0f}", f"{t.peer:.0f}", f"{t.ratio:.2f}", t.agreement)
    Console().print(table)


if __name__ == "__main__":
    main()
