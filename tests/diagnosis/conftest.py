"""COCO in small, and ``experiment=opsnet_r50`` on it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from official_trees import coco_tree
from rehearsal_overrides import ONLY_COCO, RANDOM_CLIP, SMALL_R50

from opsnet.diagnosis.checklist import Checklist
from opsnet.diagnosis.run import Prepared, prepare
from opsnet.diagnosis.step import shortened, take_steps
from opsnet.diagnosis.watch import StepMeasurements


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    """A folder for OPSNET_DATA with COCO panoptic 2017 of an image a set."""
    coco_tree(tmp_path / "data" / "coco")
    return tmp_path / "data"


@pytest.fixture
def r50(compose, coco: Path, tmp_path: Path) -> Callable[..., object]:
    """(overrides) -> the configuration of opsnet_r50 on that COCO."""
    here = [f"paths.data={coco}", f"paths.runs={tmp_path / 'runs'}", f"output={tmp_path / 'runs' / 'r50'}"]
    return lambda *overrides: compose("train", *SMALL_R50, *RANDOM_CLIP, *ONLY_COCO, *here, *overrides)


Taken = tuple[StepMeasurements | None, Checklist, Prepared]


@pytest.fixture
def taken(train_config, tmp_path: Path) -> Callable[..., Taken]:
    """(overrides) -> figures, results and what was prepared, of a rehearsed training of the embedded world."""

    def run(*overrides: str, change: Callable[[Any], object] = lambda module: None) -> Taken:
        cfg = train_config(tmp_path / "runs" / "run", *overrides)
        prepared = prepare(cfg, Path(cfg.output), Checklist())
        change(prepared.module)
        checklist = Checklist()
        short = shortened(cfg, tmp_path / "rehearsal", dict(prepared.devices.instead))
        return take_steps(short, prepared.sets.data, prepared.module, prepared.resume, checklist), checklist, prepared

    return run
