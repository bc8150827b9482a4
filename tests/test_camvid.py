"""experiment=camvid: from the distributed folder to a checkpoint that is evaluated, as docs/photographs.md does it."""

from __future__ import annotations

from pathlib import Path

import pytest
from official_trees import camvid_tree

from opsnet.evaluation.run import evaluate
from opsnet.preparation import camvid
from opsnet.training.run import train


@pytest.fixture
def data(world, tmp_path: Path) -> list[str]:
    """Overrides for eight drawn images a set, of CamVid's size, and a CLIP and a backbone at random."""
    camvid_tree(tmp_path / "src", size=(360, 480), images=8)
    camvid.prepare(tmp_path / "src", tmp_path / "camvid", workers=1)
    return [
        f"paths.data={world.data}", f"data.root={tmp_path / 'camvid'}", "data.module.num_workers=0",
        "backbone.pretrained=false",
        "+data.test.limit=2", "+data.module.val.limit=2",
    ]  # fmt: skip


def test_two_steps_a_validation_and_an_evaluation(data, compose, tmp_path: Path) -> None:
    few = ["optim.max_epochs=2", "trainer.check_val_every_n_epoch=1", "trainer.enable_progress_bar=false"]
    out = [f"output={tmp_path / 'run'}", f"paths.runs={tmp_path}"]
    cfg = compose("train", "experiment=camvid", *data, *few, *out)
    assert cfg.trainer.gradient_clip_val
    assert cfg.backbone.frozen_norms
    metrics = train(cfg)
    assert 0 <= metrics["val/PQ"] <= 100
    checkpoint = tmp_path / "run" / "checkpoints" / "last.ckpt"
    assert compose("train", "experiment=camvid", *data[:2], *out).backbone.pretrained  # no frozen stages at random
    given = ["experiment=camvid", f"checkpoint={checkpoint}", f"output={tmp_path / 'out'}", "device=cpu", "panels=0"]
    found = evaluate(compose("evaluate", *given, *data)).metrics
    names = {name.removeprefix("camvid/").rpartition("/")[0] for name in found}
    assert names == {"query_only/cls_iou_filter"}  # the experiment's own, not all settings of the tables
    assert {"camvid/query_only/cls_iou_filter/PQ", "camvid/query_only/cls_iou_filter/mIoU"} <= found.keys()


def test_no_class_is_a_thing(compose) -> None:
    """The labels separate no instances, so every segment is a class's."""
    from opsnet.vocabulary import Vocabulary

    cfg = compose("train", "experiment=camvid", "output=unused")
    vocabulary = Vocabulary.load(cfg.data.vocabulary)
    assert len(vocabulary) == 11
    assert not any(vocabulary.is_thing)
