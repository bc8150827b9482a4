"""The LightningModule: losses of a step, validation metrics, and the content of checkpoints."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from opsnet.data.batching import collate
from opsnet.data.panoptic_dataset import PanopticDataset
from opsnet.losses.layer_predictions import LayerPredictions
from opsnet.losses.point_sampling import StepSeeds
from opsnet.losses.predictions import MatchedPredictions
from opsnet.metrics.panoptic_quality import PanopticQuality
from opsnet.structures import GroundTruth, ImageLabels
from opsnet.training.run import build_module
from opsnet.vocabulary import Vocabulary


@pytest.fixture(scope="module")
def cfg(train_config, tmp_path_factory):
    return train_config(tmp_path_factory.mktemp("module"), "filtering.threshold=0", "overlap=0")


@pytest.fixture(scope="module")
def module(cfg):
    torch.manual_seed(0)
    return build_module(cfg, Vocabulary.load("scenes"))


@pytest.fixture(scope="module")
def batch(world):
    root = world.data / "scenes_0" / "scenes"
    annotations = root / "annotations" / "panoptic_val.json"
    data = PanopticDataset(images=root / "val", annotations=annotations, vocabulary="scenes")
    return collate([data[0], data[1]], vocabulary="scenes", with_ground_truth=True)


@pytest.fixture
def logged(module, monkeypatch) -> dict[str, float]:
    """The logged metrics, by name."""
    found: dict[str, float] = {}
    monkeypatch.setattr(module, "log", lambda name, value, **_: found.update({name: float(value)}))
    monkeypatch.setattr(module, "log_dict", lambda values, **_: found.update({k: float(v) for k, v in values.items()}))
    return found


def test_a_step_sums_the_losses_of_all_layers(module, batch, logged) -> None:
    module.eval().model.query_decoder.train()  # otherwise batch norms would change between the two passes
    torch.manual_seed(1)
    loss = module.training_step(batch, 0)
    assert loss.requires_grad
    assert set(logged) == {f"train/{k}" for k in ("loss", "cross_entropy", "mask_bce", "dice", "iou")}
    assert logged["train/loss"] == pytest.approx(sum(v for k, v in logged.items() if k != "train/loss"), rel=1e-5)
    torch.manual_seed(1)
    proposals, _ = module.model(batch.images)
    everything = proposals.supervision.layers
    assert len(everything) == 4
    bank = module.train_bank()
    layers = [LayerPredictions(module.model.training_logits(q, bank), q.mask_embeds, q.iou) for q in everything]
    seeds = StepSeeds.of(0, 0, batch.image_ids)
    pixels, other = proposals.supervision.pixels, StepSeeds.of(0, 1, batch.image_ids)
    again, later = (
        float(module.losses(MatchedPredictions.match(layers, pixels, batch.targets, module.matcher, s))["loss"])
        for s in (seeds, other)
    )
    assert again == pytest.approx(float(loss), rel=1e-5)
    assert later != float(loss)


def test_clip_does_not_run_if_no_query_attends_to_it(train_config, batch, monkeypatch, tmp_path) -> None:
    torch.manual_seed(0)
    cfg = train_config(tmp_path, "model.query_decoder.clip_attention=null", "matching.points=64")
    module = build_module(cfg, Vocabulary.load("scenes"))
    monkeypatch.setattr(module, "log", lambda *_, **__: None)
    monkeypatch.setattr(module, "log_dict", lambda *_, **__: None)
    looked: list[int] = []
    module.model.clip.image_encoder.register_forward_hook(lambda *_: looked.append(1))
    loss = module.training_step(batch, 0)
    assert not looked
    proposals, _ = module.model(
        batch.images, batch.valid_sizes
    )  # with the CLIP map: the same proposals at a higher cost
    assert looked
    bank = module.train_bank()
    layers = [
        LayerPredictions(module.model.training_logits(q, bank), q.mask_embeds, q.iou)
        for q in proposals.supervision.layers
    ]
    seeds = StepSeeds.of(0, 0, batch.image_ids)
    matched = MatchedPredictions.match(layers, proposals.supervision.pixels, batch.targets, module.matcher, seeds)
    again = module.losses(matched)["loss"]
    assert float(again.detach()) == pytest.approx(float(loss.detach()), rel=1e-6)


def test_other_targets_are_refused(module, batch) -> None:
    labels = dataclasses.replace(batch, targets=ImageLabels([torch.tensor([0])]))
    with pytest.raises(TypeError, match="no loss is configured for batches with ImageLabels"):
        module.training_step(labels, 0)


def test_a_step_of_two_kinds_adds_the_losses_of_both(train_config, batch, monkeypatch, tmp_path) -> None:
    overrides = ["image_labels=cls_masksum", "matching.points=64", "losses.distillation.weight=2", "init_from=x"]
    monkeypatch.setattr("opsnet.published.initial_weights.load_initial_weights", lambda *_: None)
    torch.manual_seed(0)
    names = Vocabulary.load("scenes"), Vocabulary.load("scenes_labels")
    module = build_module(train_config(tmp_path, *overrides), *names).eval()
    module.model.query_decoder.train()
    found: dict[str, float] = {}
    monkeypatch.setattr(module, "log", lambda name, value, **_: found.update({name: float(value.detach())}))
    monkeypatch.setattr(
        module, "log_dict", lambda values, **_: found.update({k: float(v.detach()) for k, v in values.items()})
    )
    module.model.query_decoder.iou_head.bias.data.fill_(2.0)  # all proposals are valid
    labels = dataclasses.replace(batch, targets=ImageLabels([torch.tensor([0, 4]), torch.tensor([2])]))
    loss = module.training_step({"panoptic": batch, "labels": labels}, 0)
    terms = {"cross_entropy", "mask_bce", "dice", "iou", "image_label_matching", "mask_sum", "distillation"}
    assert set(found) == {f"train/{k}" for k in (*terms, "loss", "label_proposals", "layout_error")}
    assert float(loss.detach()) == pytest.approx(sum(found[f"train/{k}"] for k in terms), rel=1e-5)
    assert found["train/label_proposals"] == 8
    assert found["train/layout_error"] == pytest.approx(found["train/mask_sum"] / 0.4)
    loss.backward()
    assert all(p.grad is None for p in module.model.clip.parameters())
    assert list(module.losses.parameters()) == []
    assert [n for n, p in module.model.named_parameters() if p.requires_grad and p.grad is None] == []


def test_the_validation_scores_the_maps_and_is_reset_each_time(module, batch, logged) -> None:
    module.eval()
    torch.manual_seed(0)
    for weight in module.model.query_decoder.mask_head.parameters():  # untrained masks are too faint to be segments
        weight.data.normal_(0, 0.3)
    maps = module.predict_maps(batch)
    assert sum(len(m.segments) for m in maps) > 0
    right = dataclasses.replace(batch, panoptic=[GroundTruth(m.ids, m.segments) for m in maps])
    module.validation_step(right, 0)
    module.on_validation_epoch_end()
    assert logged["val/PQ"] == logged["val/SQ"] == logged["val/RQ"] == 100
    module.validation_step(batch, 0)
    module.on_validation_epoch_end()
    direct = PanopticQuality(is_thing=module.train_vocabulary.is_thing)
    for prediction, truth in zip(maps, batch.panoptic, strict=True):
        direct.update(prediction, truth)
    assert {k.removeprefix("val/"): v for k, v in logged.items()} == pytest.approx(direct.compute())
    assert logged["val/PQ"] < 100


def test_a_checkpoint_excludes_clip_and_restores_the_loaded_one(module) -> None:
    checkpoint = {"state_dict": dict(module.state_dict())}
    module.on_save_checkpoint(checkpoint)
    left_out = set(module.state_dict()) - set(checkpoint["state_dict"])
    assert left_out == {k for k in module.state_dict() if k.startswith("model.clip.")}
    assert len(left_out) > 10
    assert checkpoint["opsnet"]["clip_hash"] == module.model.clip.weights_hash
    module.on_load_checkpoint(checkpoint)
    assert set(checkpoint["state_dict"]) == set(module.state_dict())
    module.load_state_dict(checkpoint["state_dict"])


def test_the_configuration_in_a_checkpoint_has_no_interpolations(module, cfg) -> None:
    config = module.config
    assert "${" not in str(config)
    assert set(config) == {"model", "backbone", "clip", "overlap", "vocabulary", "experiment", "inference"}
    assert config["overlap"] == 0
    assert [c["name"] for c in config["vocabulary"]["categories"]] == list(Vocabulary.load("scenes").names)


def test_the_names_are_embedded_once(module) -> None:
    assert module.train_bank() is module.train_bank()
    assert len(module.train_bank().names) == len(Vocabulary.load("scenes"))
