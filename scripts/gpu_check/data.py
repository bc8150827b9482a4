"""Small COCO-format sets made at random, and the configuration of the README's training on them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir

from opsnet.utils.configuration import config_dir
from scripts.benchmarks.data import write_dataset
from scripts.gpu_check.measure import Setup
from scripts.gpu_check.networks import SMALL

SMALL_SETS = [
    "+data.module.train.transform.size=64", "data.shortest=64", "data.longest=96",
    "data.module.num_workers=1", "matching.points=64",
]  # fmt: skip
FILES = 8
"""Image files; a longer set repeats them."""


def configure(setup: Setup, *, train: int, val: int, overrides: Sequence[str] = ()) -> Any:
    """conf/train.yaml for ``experiment=opsnet_r50`` with random weights, on sets of ``train`` and ``val`` images.

    Precision, clipping, transforms, optimizer and trainer are those of the experiment; with ``setup.quick`` networks
    and images are small. The sets are written unless they exist, since each process of a training comes here.
    """
    paths = {"train": train, "val": val}
    for name, images in paths.items():
        if not _annotations(setup.folder / name).is_file():
            write_dataset(setup.folder / name, min(FILES, images), images)
    given = [
        "experiment=opsnet_r50", "data=coco", "clip.model.weights=random", "clip.model.architecture.pretrained=null",
        "backbone.pretrained=false", f"paths.cache={setup.folder / 'cache'}", f"output={setup.folder / 'run'}",
        f"data.root={setup.folder}", "optim.max_epochs=1",
        *(f"data.{name}_images={setup.folder / name / 'train2017'}" for name in paths),
        *(f"data.{name}_annotations={_annotations(setup.folder / name)}" for name in paths),
    ]  # fmt: skip
    if setup.quick:
        # The small CLIP is not chosen by its name, so it needs no `pretrained`.
        given = [g for g in given if not g.startswith("clip.model.architecture")] + SMALL + SMALL_SETS
    if setup.device == "cpu":
        given.append("trainer.accelerator=cpu")
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        return compose("train", [*given, *overrides])


def _annotations(root: Path) -> Path:
    return root / "annotations" / "panoptic_train2017.json"
