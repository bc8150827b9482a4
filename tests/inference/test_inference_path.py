"""Resized images: validation, probes, evaluation, tuning and prediction give the same results."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from flat_set import SIZES, reading_colours, write_flat_set
from small_training import SMALL

from opsnet.checkpoint.loading import load_checkpoint
from opsnet.data.batching import collate
from opsnet.data.panoptic_dataset import PanopticDataset
from opsnet.data.transforms import EvalTransform
from opsnet.evaluation.run import evaluate
from opsnet.inference.segment import predict
from opsnet.inference.settings import parse_setting
from opsnet.model import OPSNet
from opsnet.prediction.predictor import Predictor
from opsnet.training.run import train
from opsnet.utils.errors import DatasetError

RESIZED = {"shortest": 96, "longest": 128}
TUNING = 4


@dataclass(frozen=True)
class Run:
    """A training on a dataset whose images are all resized, in batches with padding."""

    root: Path
    data: list[str]
    checkpoint: Path
    metrics: dict[str, float]


@pytest.fixture(scope="module")
def run(world, compose, tmp_path_factory) -> Iterator[Run]:
    folder = tmp_path_factory.mktemp("flat")
    root = write_flat_set(folder / "own", train=8 + TUNING)
    data = [f"paths.data={world.data}", "data=own", f"data.root={root}", "data.module.num_workers=0"]
    data += ["data.module.eval_batch_size=2", *(f"data.{key}={value}" for key, value in RESIZED.items())]
    small = ["+data.module.train.transform.size=96", "trainer.max_epochs=1", "probes.domains=[own]"]
    rules = ["filtering=cls", "filtering.threshold=0.3", "overlap=0.7", f"data.tuning_images={TUNING}"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OPSNet, "forward", reading_colours(OPSNet.forward))
        paths = [f"output={folder / 'run'}", f"paths.runs={folder}"]
        metrics = train(compose("train", *data, *SMALL, *small, *rules, *paths))
        yield Run(root, data, folder / "run" / "checkpoints" / "last.ckpt", metrics)


@pytest.fixture
def evaluated(run, compose, tmp_path):
    """Overrides -> the result of ``evaluate``."""

    def make(*overrides: str):
        given = [f"checkpoint={run.checkpoint}", f"output={tmp_path / 'out'}", "device=cpu", "panels=0"]
        return evaluate(compose("evaluate", *given, *run.data, *overrides))

    return make


def test_validation_and_probes_equal_the_evaluation(run, evaluated) -> None:
    expected = evaluated("settings=[full/trained]").metrics
    assert 50 < expected["own/full/trained/PQ"] < 99.9
    for measure in ("PQ", "PQth", "PQst"):
        logged = float(np.float32(expected[f"own/full/trained/{measure}"]))  # Lightning's precision
        assert run.metrics[f"val/{measure}"] == run.metrics[f"probe/own/{measure}"] == logged


def test_a_checkpoint_stores_its_inference_settings(run) -> None:
    rules = load_checkpoint(run.checkpoint, device="cpu").inference
    assert rules.filtering == {"kind": "cls", "threshold": 0.3, "compete": "cls", "drop_no_object": True}
    assert (rules.overlap, rules.shortest, rules.longest, rules.tuning_images) == (0.7, 96, 128, TUNING)
    assert rules.filters == {}  # those of conf/filtering: no world was chosen


def test_prediction_resizes_images_as_evaluation_does(run) -> None:
    trained = load_checkpoint(run.checkpoint, device="cpu")
    dataset = PanopticDataset(
        images=run.root / "images" / "val", annotations=run.root / "panoptic_val.json",
        vocabulary=trained.train_vocabulary, transform=EvalTransform(**RESIZED),
    )  # fmt: skip
    predictor = Predictor(trained)
    for i, size in enumerate(SIZES):  # small images are enlarged
        batch = collate([dataset[i]], vocabulary="flat", with_ground_truth=True)
        (expected,) = predict(
            trained.model, batch, trained.names.prepared(trained.train_vocabulary),
            recognizer=parse_setting("full/cls").recognizer, filtering=trained.inference.mask_filtering, overlap=0.7,
        )  # fmt: skip
        found = predictor(dataset.read_image(i), trained.train_vocabulary)
        assert predictor.propose(dataset.read_image(i)).valid_sizes == tuple(batch.valid_sizes) != (size,)
        assert found.ids.shape == size
        assert torch.equal(found.ids, expected.ids)
        assert len(found.segments) > 1


def test_a_grid_needs_one_pass_and_equals_an_evaluation_per_cell(run, evaluated, monkeypatch) -> None:
    passes = []
    forward = OPSNet.forward
    monkeypatch.setattr(OPSNet, "forward", lambda self, *a, **k: passes.append(1) or forward(self, *a, **k))
    split = ["data.split=tuning", f"data.tuning_images={TUNING}"]
    tuned = evaluated(*split, "tune.threshold=[0,0.5,0.999]", "tune.overlap=[0,0.9]")
    assert len(passes) == TUNING / 2
    cells = {}
    for threshold in ("0", "0.5", "0.999"):
        for overlap in ("0", "0.9"):
            name = f"full/trained,threshold={threshold},overlap={overlap}"
            found = evaluated(*split, f"settings=[full/trained,'{name}']").metrics
            cells[name] = found[f"own/{name}/PQ"]
            assert {k: v for k, v in found.items() if f"/{name}/" in k}.items() <= tuned.metrics.items()
    assert len(set(cells.values())) > 2
    best = tuned.tuned["own"]["full/trained"]
    assert (best.PQ, best.lowest) == (max(cells.values()), min(cells.values()))
    assert cells[best.setting] == best.PQ
    assert f"threshold={best.threshold:g},overlap={best.overlap:g}" in best.setting


def test_stored_proposals_have_the_inference_settings_of_their_checkpoint(run, evaluated, compose, tmp_path) -> None:
    names = "settings=[full/trained,full/cls,full/cls_iou]"
    direct = evaluated(names, "save_proposals=true").metrics
    given = [f"proposals={tmp_path / 'out'}", f"output={tmp_path / 'again'}", "device=cpu", "panels=0", names]
    assert evaluate(compose("evaluate", *given, *run.data)).metrics == direct
    assert direct["own/full/trained/PQ"] != direct["own/full/cls/PQ"]  # 0.3 and Mask2Former's 0.8: no sky


def test_tuning_on_training_images_gives_a_warning(evaluated, caplog) -> None:
    with caplog.at_level(logging.WARNING, "opsnet"):
        evaluated("data.split=tuning", f"data.tuning_images={TUNING}", "tune.threshold=[0.5]")
        assert not caplog.messages
        evaluated("data.split=tuning", f"data.tuning_images={TUNING + 2}", "tune.threshold=[0.5]")
    (message,) = caplog.messages
    assert f"the checkpoint was trained with data.tuning_images={TUNING}" in message
    with pytest.raises(DatasetError, match="limit must be at least 1"):
        evaluated("data.split=tuning", "tune.threshold=[0.5]")


def test_skipped_settings_are_logged(evaluated, caplog) -> None:
    with caplog.at_level(logging.INFO, "opsnet"):
        metrics = evaluated().metrics
    assert not [key for key in metrics if any(source in key for source in ("masking", "cropping", "attention"))]
    assert "own/full/trained/PQ" in metrics
    (message,) = [m for m in caplog.messages if "skipped" in m]
    for name in ("masking/cls_iou", "cropping/cls_iou", "masked_attention/cls_iou"):
        assert name in message
    assert "table=5" in message
