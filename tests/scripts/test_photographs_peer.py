"""scripts/benchmarks/photographs_peer.py: both sides have the same start, batches and evaluation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from official_trees import camvid_tree

from opsnet.preparation import camvid
from opsnet.segmenter.backbone import Backbone
from opsnet.utils.errors import InputError
from scripts.benchmarks import photographs_peer

SMALL = [
    "data.module.num_workers=0", "data.module.train.transform.size=64", "data.shortest=64", "matching.points=64",
    "optim.max_epochs=1", "trainer.check_val_every_n_epoch=1", "trainer.accelerator=cpu", "+data.module.val.limit=2",
]  # fmt: skip


@pytest.fixture(scope="module")
def given(world, tmp_path_factory) -> list[str]:
    """Overrides for a tiny dataset and backbone weights in a file."""
    folder = tmp_path_factory.mktemp("peer")
    camvid_tree(folder / "src", size=(60, 80), images=8)
    camvid.prepare(folder / "src", folder / "camvid", workers=1)
    torch.manual_seed(0)
    weights = Backbone(name="tf_efficientnet_lite0").model.state_dict()
    torch.save(weights, folder / "lite0.pth")
    backbone = [f"backbone.weights={folder / 'lite0.pth'}", "backbone.name=tf_efficientnet_lite0"]
    return [f"paths.data={world.data}", f"data.root={folder / 'camvid'}", *backbone, *SMALL]


@pytest.mark.parametrize(
    ("side", "filters"), [("ours", {"cls", "iou", "cls_iou", "cls_iou_filter"}), ("peer", {"cls"})]
)
def test_a_side_is_trained_and_scored(side: str, filters: set[str], given, tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    photographs_peer.main([side, *given, f"output={tmp_path}"])
    torch.set_num_threads(threads)
    found = json.loads((tmp_path / "results.json").read_text())
    assert (found["side"], found["steps"]) == (side, 1)
    assert found["cpu_seconds_per_step"] > 0
    assert {name.split("/")[1] for name in found["validation"]} == filters
    assert {name.split("/")[2] for name in found["validation"]} == {"PQ", "mIoU"}
    assert all(0 <= value <= 100 for value in found["validation"].values())


def test_both_sides_start_from_the_same_weights_with_the_same_optimizer(given, compose, tmp_path: Path) -> None:
    from opsnet.training.run import build_module
    from opsnet.vocabulary import Vocabulary

    cfg = compose("train", "experiment=camvid", *photographs_peer.EQUAL, *given, f"output={tmp_path}")
    vocabulary = Vocabulary.load("camvid")
    ours, peer = build_module(cfg, vocabulary), photographs_peer.Peer(cfg, vocabulary)
    encoder = peer.mask2former.model.pixel_level_module.encoder
    image = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        maps = ours.model.backbone(image), encoder(image).feature_maps
    for a, b in zip(*maps, strict=True):  # up to rounding: ours folds its norms
        torch.testing.assert_close(a, b, atol=1e-4 * b.abs().max().item(), rtol=0)
    decoder = peer.mask2former.model.transformer_module
    assert len(decoder.decoder.layers) == len(ours.model.query_decoder.layers)
    assert decoder.queries_features.weight.shape == ours.model.query_decoder.query_features.weight.shape

    def rates(optimizer: Any) -> set[tuple[float, float]]:
        return {(group["lr"], group["weight_decay"]) for group in optimizer.param_groups}

    def trained(optimizer: Any, lr: float) -> int:
        return sum(p.numel() for group in optimizer.param_groups if group["lr"] == lr for p in group["params"])

    optimizers = ours.build_optimizer(ours.model), peer.build_optimizer(peer)
    assert rates(optimizers[0]) == rates(optimizers[1])
    backbone = [trained(optimizer, 1e-4) for optimizer in optimizers]
    assert backbone[0] == backbone[1] == sum(p.numel() for p in ours.model.backbone.parameters() if p.requires_grad)


def test_another_side_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises((SystemExit, InputError)):
        photographs_peer.main(["theirs"])
    assert "'theirs' is unknown: give ours or peer" in capsys.readouterr().err
