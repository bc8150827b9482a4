"""scripts/published/score_mask2former.py: a published network classifies its masks with its own class head."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from mask2former_peer import OURS, SMALL, random_peer, resnet
from official_trees import coco_tree

from opsnet.paper.rows import table_row
from opsnet.structures import Batch
from opsnet.utils.errors import InputError
from scripts.published import score_mask2former

SIZE = (64, 96)


@pytest.fixture(scope="module")
def peer() -> Any:
    """A random Mask2Former with COCO's 133 classes and confident predictions: its class head is scaled."""
    backbone = resnet(depths=[1, 1, 1, 1], hidden_sizes=[16, 32, 64, 128], embedding_size=64)
    network = random_peer(backbone, **SMALL, num_labels=133)
    with torch.no_grad():
        network.class_predictor.weight *= 100
    return network


def config(compose, *more: str) -> Any:
    return compose("predict", *OURS, "image=a", "vocabulary=coco", "device=cpu", "output=a", *more)


def test_classes_are_those_of_the_published_class_head(compose, peer, tmp_path, monkeypatch) -> None:
    peer.save_pretrained(tmp_path / "peer")
    monkeypatch.setattr(score_mask2former, "OVERLAP", 0.0)  # random masks occlude each other
    network = score_mask2former.ClosedMask2Former(config(compose, f"model.weights={tmp_path / 'peer'}"), device="cpu")
    images = torch.rand(1, 3, *SIZE, generator=torch.Generator().manual_seed(0))
    batch = Batch(images=images, valid_sizes=[SIZE], image_ids=[1], vocabulary="coco")
    (found,) = network(batch)
    with torch.no_grad():
        theirs = peer((images - network.model.backbone.mean) / network.model.backbone.std)
    scores, labels = theirs.class_queries_logits.softmax(-1)[0].max(-1)
    kept = {int(label) for score, label in zip(scores, labels, strict=True) if score > 0.8 and label < 133}
    assert kept  # or nothing would be compared
    assert found.segments
    assert {segment.label for segment in found.segments} <= kept


def test_weights_of_other_classes_are_refused(compose, tmp_path) -> None:
    backbone = resnet(depths=[1, 1, 1, 1], hidden_sizes=[16, 32, 64, 128], embedding_size=64)
    random_peer(backbone, **SMALL, num_labels=19).save_pretrained(tmp_path / "peer")
    with pytest.raises(InputError, match="have 19 classes, but COCO panoptic has 133"):
        score_mask2former.ClosedMask2Former(config(compose, f"model.weights={tmp_path / 'peer'}"), device="cpu")


def test_missing_weights_give_a_short_error(capsys) -> None:
    with pytest.raises(SystemExit):
        score_mask2former.main(["backbone=r101"])
    assert "give model.weights=PATH" in capsys.readouterr().err


def test_the_networks_of_table_9_have_their_sizes(compose) -> None:
    for row, queries in ((5, 100), (6, 100), (7, 200)):
        published = table_row(9, row)
        cfg = compose(
            "evaluate", *score_mask2former.overrides([f"backbone={published.published_backbone}", "output=a"])
        )
        assert cfg.experiment_name == published.training
        assert cfg.model.query_decoder.queries == queries
        assert cfg.backbone == compose("train", f"backbone={published.published_backbone}").backbone
        assert list(cfg.data.module.test) == ["coco"]


def test_the_command_scores_cocos_validation_set(peer, tmp_path, monkeypatch, capsys) -> None:
    peer.save_pretrained(tmp_path / "peer")
    coco_tree(tmp_path / "data" / "coco")
    monkeypatch.setenv("OPSNET_DATA", str(tmp_path / "data"))
    small = [word for word in OURS if "decoder" in word or "model_args" in word]
    given = ["backbone=r50", f"model.weights={tmp_path / 'peer'}", "device=cpu", f"output={tmp_path / 'out'}"]
    score_mask2former.main([*given, *small])
    assert "coco/mask2former/PQ: " in capsys.readouterr().out
    result = json.loads((tmp_path / "out" / "results.json").read_text())
    assert result["experiment"] == table_row(1, 1).training
    assert 0 <= result["metrics"]["coco/mask2former/PQ"] <= 100
