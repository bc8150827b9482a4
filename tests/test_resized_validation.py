"""Validation, probes and evaluation of images that the network sees resized give the same metrics."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from flat_set import reading_colours, write_flat_set
from small_training import SMALL

from opsnet.evaluate import evaluate
from opsnet.model import OPSNet
from opsnet.train import train

SIZES = ("data.shortest=96", "data.longest=128")


@pytest.fixture(scope="module")
def data(world, tmp_path_factory) -> list[str]:
    """Overrides for a set whose images are all resized, to four sizes, in batches with padding."""
    root = write_flat_set(tmp_path_factory.mktemp("flat") / "own")
    loading = ["data.module.num_workers=0", "data.module.eval_batch_size=2"]
    return [f"paths.data={world.data}", "data=own", f"data.root={root}", *SIZES, *loading]


def test_validation_and_probes_equal_the_evaluation(data, compose, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(OPSNet, "forward", reading_colours(OPSNet.forward))
    small = ["+data.module.train.transform.size=96", "trainer.max_epochs=1", "probes.domains=[own]"]
    paths = [f"output={tmp_path / 'run'}", f"paths.runs={tmp_path}"]
    found = train(compose("train", *data, *SMALL, *small, *paths))
    checkpoint = tmp_path / "run" / "checkpoints" / "last.ckpt"
    given = [f"checkpoint={checkpoint}", f"output={tmp_path / 'out'}", "settings=[full/cls_iou]", "device=cpu"]
    expected = evaluate(compose("evaluate", *given, *data)).metrics
    assert 50 < expected["own/full/cls_iou/PQ"] < 99.9
    for measure in ("PQ", "PQth", "PQst"):
        logged = float(np.float32(expected[f"own/full/cls_iou/{measure}"]))  # Lightning's precision
        assert found[f"val/{measure}"] == found[f"probe/own/{measure}"] == logged
