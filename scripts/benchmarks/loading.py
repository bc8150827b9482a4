"""Reads training images as data=coco does for several epochs: images per second, and the memory of worker processes.

Usage: python -m scripts.benchmarks.loading [--images 1000] [--annotations N] [--workers 2] [--epochs 3] [--json]

Writes images of 640 x 480 with twenty segments each in COCO's layout. First a single process reads some of them,
alternating with the straightforward implementation in scripts/benchmarks/data.py; then a training loader reads all, and
after each epoch the private memory (not shared with other processes) of this process and of its workers is printed.
``--annotations 118287`` repeats the images until the json is as long as COCO's.
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

COMPARED = 40  # images that are read by both implementations
EARLY = 4  # batches after which a worker has allocated everything it needs


@dataclass(frozen=True)
class Epoch:
    """Images per second of all workers; private MB of this process, and of the largest worker early and at the end."""

    images_per_second: float
    parent: float
    worker_early: float
    worker_end: float


def data_module(root: Path, workers: int) -> PanopticDataModule:
    """``data=coco`` with the images in ``root``."""
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        overrides = ["data=coco", f"paths.data={root}", f"data.module.num_workers={workers}", "output=unused"]
        config = compose("train", overrides)
    data: PanopticDataModule = instantiate(config.data.module, _convert_="object", val=None, test=None)
    data.setup("fit")
    return data


def compare(data: PanopticDataModule, root: Path) -> tuple[float, float]:
    """Images per second of one process for both implementations, which alternate; from the mean time per image."""
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
        start, images, early, end = time.perf_counter(), 0, 0.0, 0.0
        for step, batch in enumerate(track(loader, f"epoch {number}", len(loader), console=Console(stderr=True))):
            images += len(batch.images)
            if step in (EARLY, len(loader) - 1 - EARLY):
                end = max((private_megabytes(p.pid) for p in multiprocessing.active_children()), default=0.0)
                early = early or end
        yield Epoch(images / (time.perf_counter() - start), private_megabytes("self"), early, end)


def private_megabytes(pid: int | str | None) -> float:
    """Memory of a process that is not shared with others."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints tables, or json with ``--json``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1000, help="files on disk")
    parser.add_argument("--annotations", type=int, help="entries of the json, by default one per image")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="print json instead of tables")
    options = parser.parse_args(arguments)
    with exit_on_user_error(), tempfile.TemporaryDirectory(prefix="opsnet_loading_") as folder:
        if not Path("/proc/self/smaps_rollup").is_file():
            raise InputError("memory is read from /proc/PID/smaps_rollup, which does not exist here: use Linux")
        torch.set_num_threads(1)
        write_dataset(Path(folder) / "coco", options.images, options.annotations)
        data = data_module(Path(folder), options.workers)
        ours, plain = compare(data, Path(folder))
        rows = list(epochs(data, options.epochs))
    if options.json:
        print(json.dumps({"ours": ours, "plain": plain, "epochs": [asdict(row) for row in rows]}, indent=2))
        return
    console = Console()
    console.print(
        f"One process: {ours:.1f} images per second, straightforward {plain:.1f}: {ours / plain:.2f} times as fast"
    )
    table = Table("epoch", "images/s", "this process (MB)", "worker, early (MB)", "worker, at the end (MB)")
    for number, row in enumerate(rows):
        values = (row.images_per_second, row.parent, row.worker_early, row.worker_end)
        table.add_row(str(number), *(f"{value:.1f}" for value in values))
    console.print(table)


if __name__ == "__main__":
    main()
