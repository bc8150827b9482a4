"""Times this project against transformers' Mask2Former, the implementation that users can install, on this machine.

Usage: python -m scripts.benchmarks.pairs [--only NAME ...] [--rounds 5] [--json] [--checkpoint PATH]

Both have the same random weights and inputs, alternate in one process, and are compared before they are timed. Each
benchmark runs in a separate process, because memory cached by the allocator would affect the next one. Prints medians
in milliseconds and their ratio, on one thread, since two would compete on a small machine. The benchmarks are defined
in scripts/benchmarks/networks.py, operations.py and data.py.

``--only sweep`` has no peer: it times one pass over the twenty settings of Table 6 against a single evaluation, see
scripts/benchmarks/sweep.py.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from opsnet.utils.errors import InputError, exit_on_user_error
from scripts.benchmarks import networks, operations
from scripts.benchmarks.data import data
from scripts.benchmarks.pair import Pair
from scripts.benchmarks.sweep import SWEEPS

BENCHMARKS: dict[str, Callable[[], Pair]] = {
    "forward": networks.forward,
    "forward_bf16": networks.forward_bf16,
    "training_step": networks.training_step,
    "decoder": networks.decoder,
    "sampling": operations.sampling,
    "sampling_backward": operations.sampling_backward,
    "post_processing": operations.post_processing,
    "matching": operations.matching,
    "pq": operations.pq,
    "text": networks.text,
    "many_names": operations.many_names,
    "data": data,
}


@dataclass(frozen=True)
class Timing:
    """Medians in milliseconds."""

    name: str
    ours: float
    peer: float
    agreement: str

    @property
    def ratio(self) -> float:
        """Speed of ours relative to the peer; for a sweep, the peer is the single evaluation."""
        return self.peer / self.ours


def benchmark(name: str, rounds: int, checkpoint: Path | None = None) -> Timing:
    """Times both sides of a pair alternately, after one round to warm up."""
    pair = SWEEPS[name](checkpoint) if name in SWEEPS else BENCHMARKS[name]()
    seconds: dict[str, list[float]] = {"ours": [], "peer": []}
    for turn in range(rounds + 1):
        for side, run in (("ours", pair.ours), ("peer", pair.peer)):
            start = time.perf_counter()
            run()
            if turn:
                seconds[side].append(time.perf_counter() - start)
    medians = {side: 1000 * statistics.median(values) for side, values in seconds.items()}
    return Timing(name, medians["ours"], medians["peer"], pair.agreement)


def _alone(name: str, rounds: int, checkpoint: Path | None) -> Timing:
    """The same in a new process with one thread."""
    with ProcessPoolExecutor(1, get_context("spawn"), torch.set_num_threads, (1,)) as pool:
        return pool.submit(benchmark, name, rounds, checkpoint).result()


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the timings as a table, or as json with ``--json``."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--only", nargs="+", choices=[*BENCHMARKS, "sweep", *SWEEPS], metavar="NAME")
    parser.add_argument("--rounds", type=int, default=5, help="timed rounds")
    parser.add_argument("--json", action="store_true", help="print json instead of a table")
    parser.add_argument("--checkpoint", type=Path, help="of the miniature, for sweep_miniature; untrained by default")
    options = parser.parse_args(arguments)
    names = [n for name in options.only or BENCHMARKS for n in (SWEEPS if name == "sweep" else [name])]
    with exit_on_user_error():
        packages = f"torch {torch.__version__}{_peer_version(names)}, {platform.machine()}"
        timings = [
            _alone(name, options.rounds, options.checkpoint)
            for name in track(names, "Timing", console=Console(stderr=True))
        ]
    if options.json:
        rows = [{**asdict(t), "ratio": t.ratio} for t in timings]
        print(json.dumps({"versions": packages, "benchmarks": rows}, indent=2))
        return
    _print([t for t in timings if t.name not in SWEEPS], [t for t in timings if t.name in SWEEPS], packages)


def _peer_version(names: Sequence[str]) -> str:
    """The peer's version for the caption; empty if only sweeps are timed, which have no peer.

    Raises:
        InputError: it is not installed.
    """
    if not set(names) - set(SWEEPS):
        return ""
    try:
        import transformers
    except ImportError as error:
        raise InputError("the peer is transformers, which is not installed: pip install -e .[dev]") from error
    return f", transformers {transformers.__version__}"


def _print(pairs: Sequence[Timing], sweeps: Sequence[Timing], caption: str) -> None:
    columns = ("benchmark", "ours (ms)", "peer (ms)", "times as fast", "agreement")
    table = Table(*columns, title="One thread", caption=caption)
    for t in pairs:
        table.add_row(t.name, f"{t.ours:.0f}", f"{t.peer:.0f}", f"{t.ratio:.2f}", t.agreement)
    columns = ("sweep", "20 settings (ms)", "1 setting (ms)", "costs as much as", "agreement")
    of_sweeps = Table(*columns, title="One pass over Table 6, one thread", caption=caption)
    for t in sweeps:
        of_sweeps.add_row(t.name, f"{t.ours:.0f}", f"{t.peer:.0f}", f"{1 / t.ratio:.2f}", t.agreement)
    for printed in (table, of_sweeps):
        if printed.row_count:
            Console().print(printed)


if __name__ == "__main__":
    main()
