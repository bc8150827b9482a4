"""Long runs in one process: a training with validations and checkpoints, and predictions of all sizes."""

from __future__ import annotations

import os
import subprocess
import warnings

import numpy as np
from PIL import Image

from opsnet.prediction.predictor import load
from scripts.gpu_check.report import ROOT, Table
from scripts.soak.network import STEPS_PER_EPOCH, draw, training, write_clip
from scripts.soak.options import Options
from scripts.soak.watching import COLUMNS, Watch, growing, row

VALIDATIONS = 50


def soak_training(options: Options) -> list[Table]:
    """A training by its command, watched from outside."""
    write_clip(options.folder / "data")
    epochs = options.steps // STEPS_PER_EPOCH
    command = training(options.folder / "run", options.steps, max(1, epochs // VALIDATIONS))
    process = subprocess.Popen(command, cwd=ROOT)
    with Watch(process.pid) as watch:
        code = process.wait()
    table = Table("Soak: training", COLUMNS)
    if code or not (options.folder / "run" / "results.json").is_file():
        table.failures.append(f"the training ended with exit status {code}; its error is in the output")
    return [_judged(table, "training", watch, options.steps)]


def soak_predictions(options: Options) -> list[Table]:
    """Predictions of images of all sizes with all kinds of names, in this process."""
    predictor = load(options.network, device="cpu")
    predictor.filtering.threshold = 0
    rng = np.random.default_rng(0)
    scenes = [draw(seed) for seed in range(20)]
    counts = []
    warnings.simplefilter("ignore")  # the names mean nothing
    with Watch(os.getpid()) as watch:
        for number in range(options.steps):
            pixels, names = scenes[number % len(scenes)]
            width, height = (int(side) for side in rng.integers(32, 256, 2))
            image = np.array(Image.fromarray(pixels).resize((width, height)))
            own = [f"name {word}" for word in rng.integers(0, 100_000, int(rng.integers(0, 30)))]
            found = predictor(image, [*names, *dict.fromkeys(own)])
            assert tuple(found.ids.shape) == (height, width)
            counts.append(len(found.segments))
    table = Table("Soak: predictions", COLUMNS, notes=[f"{np.mean(counts):.1f} segments per image on average."])
    if not any(counts):
        table.failures.append("no image had a segment: the network is not trained")
    return [_judged(table, "predictions (32 to 256 pixels a side, new names each time)", watch, options.steps)]


def _judged(table: Table, name: str, watch: Watch, steps: int) -> Table:
    table.failures += growing(watch.samples, steps)
    if len(watch.samples) > 1:
        table.rows.append(row(name, watch.samples, steps))
    return table
