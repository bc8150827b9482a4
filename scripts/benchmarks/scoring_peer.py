"""Times ``opsnet-score`` and hotcoco, a scorer in Rust, on the same files: whole processes in turns.

Usage: python -m scripts.benchmarks.scoring_peer --images 200 [--rounds 9] [--peer FOLDER]

The images are drawn: 480 x 640 pixels, twenty segments with ragged borders, as COCO's (about 12 kB per PNG), areas and
boxes in the json. FOLDER is that of ``pip install --target FOLDER --no-deps hotcoco``; without it only opsnet-score is
timed. Prints least and most of the wall clock, of the CPU time of all processes, and the memory of the first process;
with a peer also the largest difference of PQ, SQ and RQ and the ratio of the means.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from opsnet.data.coco_panoptic_writing import SegmentLabel, describe, image_record, write_annotation
from opsnet.data.panoptic_records import ImageFile
from opsnet.evaluation.shared_pixels import add_shared_pixels

HEIGHT, WIDTH, ROWS, COLUMNS, CLASSES = 480, 640, 4, 5, 133
OURS = """
import json, sys
from opsnet.evaluation.score import score
result = score(sys.argv[1], sys.argv[2])
print(json.dumps({name: [group.pq, group.sq, group.rq] for name, group in result.groups()}))
"""
PEER = """
import contextlib, io, json, sys
from hotcoco import panoptic
with contextlib.redirect_stdout(io.StringIO()):
    result = panoptic.pq_compute(sys.argv[1], sys.argv[2])
groups = {name: result[name] for name in ("All", "Things", "Stuff")}
print(json.dumps({name: [100 * group[key] for key in ("pq", "sq", "rq")] for name, group in groups.items()}))
"""
MEMORY = """
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


class Timing(NamedTuple):
    """One process and its children: seconds, seconds of CPU time, MB of the first process, and what it printed."""

    wall: float
    cpu: float
    memory: float
    printed: Any


def _noise(rng: np.random.Generator, step: int) -> NDArray[np.float32]:
    """Smooth noise (H, W) with a wavelength of about ``step`` pixels."""
    coarse = rng.standard_normal((HEIGHT // step, WIDTH // step)).astype(np.float32)
    return np.asarray(Image.fromarray(coarse).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC))


def _regions(rng: np.random.Generator) -> NDArray[np.int64]:
    """Numbers 0 to 19 (H, W) of regions in a grid, with ragged borders."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    rows, columns = ((v + 12 * _noise(rng, 20) + 4 * _noise(rng, 4)) / 128 for v in (y, x))
    regions: NDArray[np.int64] = np.clip(rows.astype(np.int64), 0, ROWS - 1) * COLUMNS
    regions += np.clip(columns.astype(np.int64), 0, COLUMNS - 1)
    return regions


def draw(folder: Path, number: int) -> list[dict[str, Any]]:
    """Writes both PNGs of an image and returns its two annotations."""
    rng = np.random.default_rng(number)
    colours = 1 + rng.choice(256**3 - 1, ROWS * COLUMNS, replace=False)
    categories = rng.integers(1, CLASSES + 1, ROWS * COLUMNS)
    records = []
    for side, ids in (("gt", colours), ("pred", np.arange(1, ROWS * COLUMNS + 1))):
        plane = ids[_regions(rng)]
        named = np.where(rng.random(len(ids)) < (1 if side == "gt" else 0.8), categories, categories % CLASSES + 1)
        segments = describe(plane, [SegmentLabel(int(i), int(c)) for i, c in zip(ids, named)])
        records.append(write_annotation(folder / side, number, f"{number:012d}.png", plane, segments))
    return records


def draw_all(folder: Path, images: int) -> None:
    """Writes ``gt.json``, ``pred.json`` and their PNGs."""
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        records = list(pool.map(partial(draw, folder), range(images), chunksize=8))
    categories = [{"id": i, "name": f"class {i}", "isthing": int(i <= 80)} for i in range(1, CLASSES + 1)]
    files = [image_record(ImageFile(i, f"{i:012d}.jpg"), HEIGHT, WIDTH) for i in range(images)]
    for side, name in enumerate(("gt", "pred")):
        annotations = [record[side] for record in records]
        content = {"images": files, "annotations": annotations, "categories": categories}
        (folder / f"{name}.json").write_text(json.dumps(content))


def run(program: str, folder: Path, peer: Path | None) -> Timing:
    """Times one process that scores the folder.

    Raises:
        RuntimeError: it fails.
    """
    words = [sys.executable, "-c", program + MEMORY, str(folder / "gt.json"), str(folder / "pred.json")]
    paths = [os.getcwd(), *([str(peer)] if peer else [])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # installed programs do not compile their sources at each start
    start = time.perf_counter()
    process = subprocess.Popen(words, stdout=subprocess.PIPE, env=environment)
    assert process.stdout is not None
    lines = process.stdout.read().splitlines()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"a scorer failed with exit code {process.returncode}")
    printed, peak = lines
    return Timing(wall, usage.ru_utime + usage.ru_stime, int(peak) / 1024, json.loads(printed))


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--peer", type=Path, help="folder in which hotcoco is installed")
    options = parser.parse_args(arguments)
    programs = {"opsnet-score": OURS, **({"hotcoco": PEER} if options.peer else {})}
    with tempfile.TemporaryDirectory(prefix="opsnet_scoring_") as name:
        draw_all(Path(name), options.images)
        timings: dict[str, list[Timing]] = {scorer: [] for scorer in programs}
        for _ in range(options.rounds + 1):
            for scorer, program in programs.items():
                timings[scorer].append(run(program, Path(name), options.peer))
    way = "numpy" if add_shared_pixels is None else "C"
    print(f"{options.images} images, pixels counted by {way}, {options.rounds} rounds after one that is not counted")
    means = []
    for scorer, (_, *counted) in timings.items():
        walls, cpus, memory, _ = zip(*counted)
        means.append((statistics.mean(walls), statistics.mean(cpus)))
        print(
            f"{scorer:12} wall {min(walls):.2f} to {max(walls):.2f} s, CPU {min(cpus):.2f} to {max(cpus):.2f} s, "
            f"first process {max(memory):.1f} MB"
        )
    if options.peer:
        ours, theirs = (timings[scorer][0].printed for scorer in programs)
        difference = max(abs(a - b) for group in ours for a, b in zip(ours[group], theirs[group]))
        wall, cpu = (theirs / ours for ours, theirs in zip(*means))
        print(f"largest difference {difference:.1e} percent; pace of hotcoco's: wall {wall:.2f}, CPU {cpu:.2f}")


if __name__ == "__main__":
    main()
