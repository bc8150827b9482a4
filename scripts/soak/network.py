"""The network and the images of the runs: a checkpoint of ``make run`` if there is one, or else one trained here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from opsnet.miniature.drawing import DOMAINS, draw_scene
from opsnet.miniature.painting import finish
from opsnet.utils.errors import InputError
from opsnet.vocabulary import Vocabulary
from opsnet.web_demo.run import newest_checkpoint
from scripts.gpu_check.report import ROOT

COUNTS = {"train": 32, "val": 8, "test": 8, "labels": 8}
BATCH = 8
STEPS_PER_EPOCH = COUNTS["train"] // BATCH
FIRST_STEPS = 80  # of the network that is trained here


def write_clip(data: Path) -> None:
    """Writes a random CLIP of the miniature's size, where the commands look for it."""
    import torch

    from opsnet.clip.tiny import tiny_clip

    torch.manual_seed(0)
    (data / "clip").mkdir(parents=True, exist_ok=True)
    torch.save({"state_dict": tiny_clip().state_dict()}, data / "clip" / "tiny.pt")


def training(folder: Path, steps: int, every: int) -> list[str]:
    """The command line of a training of a few small images, with validations and checkpoints.

    Args:
        folder: to write to; the data lies beside it.
        steps: number of steps.
        every: epochs between two validations.
    """
    small = ["model.query_decoder.queries=8", "matching.points=64", "optim.scheduler.warmup=2"]
    return [
        sys.executable, "-m", "opsnet.train", f"paths.data={folder.parent / 'data'}", f"hydra.run.dir={folder}",
        f"data.module.batch_size={BATCH}", *(f"++data.module.prepare.{k}={v}" for k, v in COUNTS.items()), *small,
        f"trainer.max_epochs={-(-steps // STEPS_PER_EPOCH)}", f"trainer.check_val_every_n_epoch={every}",
        "trainer.accelerator=cpu", "trainer.enable_progress_bar=false",
    ]  # fmt: skip


def find_network(given: Path | None, runs: Path, folder: Path) -> Path:
    """The checkpoint that is given, or else the newest of ``make run``, or else one that is trained in ``folder``."""
    if given is not None:
        return given
    try:
        return newest_checkpoint(runs)
    except InputError:
        write_clip(folder / "data")
        print(f"no checkpoint under {runs}: training one for {FIRST_STEPS} steps", flush=True)
        subprocess.run(training(folder / "first", FIRST_STEPS, 10), check=True, cwd=ROOT)
        return folder / "first" / "checkpoints" / "last.ckpt"


def draw(seed: int) -> tuple[NDArray[np.uint8], list[str]]:
    """A scene (96, 96, 3) and the names of what is in it."""
    rng = np.random.default_rng(seed)
    domain = DOMAINS[list(DOMAINS)[seed % len(DOMAINS)]]
    image, _, segments = draw_scene(domain, rng)
    vocabulary = Vocabulary.load(domain.vocabulary)
    names = dict.fromkeys(vocabulary.names[vocabulary.index_of_id[s["category_id"]]] for s in segments)
    return finish(image, rng), list(names)
