"""CPU seconds to name given masks of an image of 640 x 480 with a CLIP of full size.

Usage: python -m scripts.benchmarks.given_masks [--clip rn50] [--masks 1 100] [--rounds 1] [--threads 1]

``Predictor.label`` from pixels and boolean masks to the merged map, as with ``opsnet.load_clip``: resizing to 800 x
1067, CLIP's image encoder, pooling, 133 names, merge. The weights are random, which does not change the time; the texts
are embedded before. The masks are overlapping blobs. Milliseconds per further mask are relative to the first row.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from opsnet.inference.trained_model import load_clip_alone
from opsnet.prediction.predictor import Predictor
from scripts.benchmarks.untrained import untrained_config

SIZE = (480, 640)


def blobs(count: int) -> NDArray[np.bool_]:
    """Smooth random masks (count, H, W), which overlap; none is empty."""
    noise = F.interpolate(torch.randn(1, count, 8, 8), size=SIZE, mode="bicubic")[0]
    threshold = noise.flatten(1).quantile(0.9, dim=1)[:, None, None]
    masks: NDArray[np.bool_] = (noise > threshold).numpy()
    return masks


def seconds(predictor: Predictor, count: int, rounds: int) -> float:
    """Median CPU time of naming ``count`` masks of one image."""
    image = np.random.default_rng(0).integers(0, 255, (*SIZE, 3), dtype=np.uint8)
    masks, times = blobs(count), []
    predictor.label(image, masks, "coco")
    for _ in range(rounds):
        start = time.process_time()
        found = predictor.label(image, masks, "coco")
        times.append(time.process_time() - start)
    assert len(found.dropped) + sum(len(s.source_ids) for s in found.segments) == count
    return statistics.median(times)


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(prog="given_masks", description="CPU seconds to name given masks of an image.")
    parser.add_argument("--clip", default="rn50", help="an option of conf/clip")
    parser.add_argument("--masks", type=int, nargs="+", default=[1, 100], help="numbers of masks")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    predictor = Predictor(load_clip_alone(untrained_config([f"clip={options.clip}"]), device="cpu"))
    table = Table("masks", "CPU seconds", "ms per further mask")
    first = None
    for count in options.masks:
        found = seconds(predictor, count, options.rounds)
        first = first or (count, found)
        more = f"{1000 * (found - first[1]) / (count - first[0]):.1f}" if count > first[0] else ""
        table.add_row(str(count), f"{found:.2f}", more)
    Console().print(table)


if __name__ == "__main__":
    main()
