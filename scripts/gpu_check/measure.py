"""Times, peak memory and synchronisations, on a GPU or a CPU."""

from __future__ import annotations

import os
import statistics
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch


@dataclass(frozen=True)
class Setup:
    """How to measure.

    Attributes:
        device: "cuda" or "cpu".
        quick: small sizes.
        folder: for data that the check writes, removed afterwards.
    """

    device: str
    quick: bool
    folder: Path

    @property
    def rounds(self) -> int:
        """Timed rounds."""
        return 2 if self.quick else 10

    @property
    def warm_up(self) -> int:
        """Rounds before the timed ones."""
        return 1 if self.quick else 3


Precision = tuple[str, torch.dtype]
PRECISIONS: tuple[Precision, ...] = (("fp32", torch.float32), ("bf16", torch.bfloat16))


def autocast(device: str, dtype: torch.dtype) -> AbstractContextManager[Any]:
    """Autocast in bf16; nothing in fp32."""
    return torch.autocast(device, dtype) if dtype == torch.bfloat16 else nullcontext()


def median_ms(sides: Mapping[str, Callable[[], Any]], setup: Setup) -> dict[str, float]:
    """Median milliseconds of each side; they run in turns, after a warm-up."""
    found: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(setup.warm_up + setup.rounds):
        for name, run in sides.items():
            milliseconds = one_ms(run, setup.device)
            if turn >= setup.warm_up:
                found[name].append(milliseconds)
    return {name: statistics.median(values) for name, values in found.items()}


def one_ms(run: Callable[[], Any], device: str) -> float:
    """Milliseconds of one run: between two CUDA events on a GPU, which begins idle."""
    if device != "cuda":
        start = time.perf_counter()
        run()
        return 1000 * (time.perf_counter() - start)
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    torch.cuda.synchronize()
    begin.record()  # type: ignore[no-untyped-call]
    run()
    end.record()  # type: ignore[no-untyped-call]
    torch.cuda.synchronize()
    return float(begin.elapsed_time(end))  # type: ignore[no-untyped-call]


def peak_gib(run: Callable[[], Any], device: str, network: torch.nn.Module) -> float | None:
    """GiB of a network's weights and of what a run allocates on the GPU at most; ``None`` on a CPU."""
    if device != "cuda":
        return None
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    run()
    torch.cuda.synchronize()
    weights = sum(t.nbytes for t in (*network.parameters(), *network.buffers()))
    return (torch.cuda.max_memory_allocated() - before + weights) / 2**30


def gib(value: float | None) -> str:
    """GiB as text."""
    return "-" if value is None else f"{value:.2f}"


def synchronize(device: str) -> None:
    """Waits for the GPU."""
    if device == "cuda":
        torch.cuda.synchronize()


@contextmanager
def counted_syncs(device: str) -> Iterator[Counter[str]]:
    """Counts the operations for which the CPU waits for the GPU, by source line; complete when the context ends.

    Nothing is counted on a CPU.
    """
    places: Counter[str] = Counter()
    if device != "cuda":
        yield places
        return
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield places
        finally:
            torch.cuda.set_sync_debug_mode("default")
    for warning in caught:
        if "called a synchronizing" in str(warning.message):
            places[f"{os.sep.join(Path(warning.filename).parts[-3:])}:{warning.lineno}"] += 1


def describe_syncs(places: Counter[str], per: float, what: str, most: int = 8) -> str:
    """The lines with the most synchronisations, as a sentence; ``per`` divides the counts."""
    lines = ", ".join(f"`{place}` {count / per:.3g}" for place, count in places.most_common(most))
    return f"Synchronisations per {what}, by the source line with the most: {lines or 'none counted'}."


@contextmanager
def exact_products() -> Iterator[None]:
    """Convolutions and matrix products of fp32 without TF32, for comparisons; timings use PyTorch's defaults."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before
