"""Reads training pictures as data=coco does, over several epochs: pictures a second, and what worker processes keep.

Usage: python -m scripts.benchmarks.loading [--pictures 1000] [--annotations N] [--workers 2] [--epochs 3] [--json]

Writes pictures of 640 x 480 with twenty segments each in COCO's layout. First one process reads some of them in turns
with the plain way of scripts/benchmarks/data.py; then a training loader reads all, and after each epoch the memory of
this process and of its workers is printed: private megabytes, those that no two processes share. ``--annotations
118287`` lists the pictures again and again, until the json is as long as COCO's.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from rich.console import Console
from rich.progress import track
from rich.table import Table

from opsnet.data.datamodule import PanopticDataModule
from opsnet.utils.configuration import config_dir
from opsnet.utils.errors import InputError, exit_on_user_error
from scripts.benchmarks.data import plain_sample, write_dataset

COMPARED = 40  # pictures that are read both ways
EARLY = 4  # batches after which a worker has done all that it does


@dataclass(frozen=True)
class Epoch:
    """Pictures a second of all workers; private MB of this process and the largest worker, early and late."""

    images_per_second: float
    parent: float
    worker_early: float
    worker_end: float


def data_module(root: Path, workers: int) -> PanopticDataModule:
    """``data=coco`` on the pictures under ``root``."""
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        overrides = ["data=coco", f"paths.data={root}", f"data.module.num_workers={workers}", "output=unused"]
        config = compose("train", overrides)
    data: PanopticDataModule = instantiate(config.data.module, _convert_="object", val=None, test=None)
    data.setup("fit")
    return data


def compare(data: PanopticDataModule, root: Path) -> tuple[float, float]:
    """Pictures a second of one process, ours and the plain way, by the median picture; read in turns."""
    dataset = data.datasets["train"]
    records = json.loads((root / "coco/annotations/panoptic_train2017.json").read_text())["annotations"]
    seconds: tuple[list[float], list[float]] = ([], [])
    ways: list[Callable[[int], object]] = [
        dataset.__getitem__,
        lambda i: plain_sample(root / "coco", records[i], dataset.transform),
    ]
    for index in range(min(COMPARED, len(dataset))):
        for way, spent in zip(ways, seconds, strict=True):
            torch.manual_seed(index)
            start = time.perf_counter()
            way(index)
            spent.append(time.perf_counter() - start)
    ours, plain = (1 / statistics.mean(spent) for spent in seconds)
    return ours, plain


def epochs(data: PanopticDataModule, count: int) -> Iterable[Epoch]:
    """Reads the training set ``count`` times."""
    loader = data.train_dataloader()
    for number in range(count):
        start, pictures, early, end = time.perf_counter(), 0, 0.0, 0.0
        for step, batch in enumerate(track(loader, f"epoch {number}", len(loader), console=Console(stderr=True))):
            pictures += len(batch.images)
            if step in (EARLY, len(loader) - 1 - EARLY):
                end = max((private_megabytes(p.pid) for p in multiprocessing.active_children()), default=0.0)
                early = early or end
        yield Epoch(pictures / (time.perf_counter() - start), private_megabytes("self"), early, end)


def private_megabytes(pid: int | str | None) -> float:
    """Memory of a process that no other one shares."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints tables or, with ``--json``, json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=1000, help="files on disk")
    parser.add_argument("--annotations", type=int, help="entries of the json, by default one a picture")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="print json instead of tables")
    options = parser.parse_args(arguments)
    with exit_on_user_error(), tempfile.TemporaryDirectory(prefix="opsnet_loading_") as folder:
        if not Path("/proc/self/smaps_rollup").is_file():
            raise InputError("memory is read from /proc/PID/smaps_rollup, which this machine lacks: use Linux")
        torch.set_num_threads(1)
        write_dataset(Path(folder) / "coco", options.pictures, options.annotations)
        data = data_module(Path(folder), options.workers)
        ours, plain = compare(data, Path(folder))
        rows = list(epochs(data, options.epochs))
    if options.json:
        print(json.dumps({"ours": ours, "plain": plain, "epochs": [asdict(row) for row in rows]}, indent=2))
        return
    console = Console()
    console.print(
        f"One process: {ours:.1f} pictures a second, the plain way {plain:.1f}: {ours / plain:.2f} times as many"
    )
    table = Table("epoch", "pictures/s", "this process (MB)", "a worker, early (MB)", "a worker, at the end (MB)")
    for number, row in enumerate(rows):
        values = (row.images_per_second, row.parent, row.worker_early, row.worker_end)
        table.add_row(str(number), *(f"{value:.1f}" for value in values))
    console.print(table)


if __name__ == "__main__":
    main()
