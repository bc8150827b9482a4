"""COCO's layout in small, and the overrides that make ``experiment=table1_row7`` small on it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from official_trees import coco_tree

# Sizes and counts, and random weights in the place of downloads; nothing else of the run.
SMALL_ROW7 = (
    "experiment=table1_row7",
    "++data.module.train.transform.size=64",
    "data.shortest=64",
    "data.longest=96",
    "data.module.batch_size=1",
    "++trainer.accumulate_grad_batches=16",
    "data.module.num_workers=1",
    "trainer.accelerator=cpu",
    "backbone.pretrained=false",
)
RANDOM_CLIP = ("clip.model.weights=random", "clip.model.architecture.pretrained=null")
ONLY_COCO = tuple(f"~data.module.test.{name}" for name in ("ade20k", "ade20k_semantic", "cityscapes", "pascal_context"))


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    """A folder for OPSNET_DATA with COCO panoptic 2017 of an image a set."""
    coco_tree(tmp_path / "data" / "coco")
    return tmp_path / "data"


@pytest.fixture
def row7(compose, coco: Path, tmp_path: Path) -> Callable[..., object]:
    """(overrides) -> the configuration of table1_row7 on that COCO."""
    here = [f"paths.data={coco}", f"paths.runs={tmp_path / 'runs'}", f"output={tmp_path / 'runs' / 'row7'}"]
    return lambda *overrides: compose("train", *SMALL_ROW7, *RANDOM_CLIP, *ONLY_COCO, *here, *overrides)
