"""A checkpoint comes back as the network that was trained."""

from __future__ import annotations

import pytest
import torch

from opsnet.errors import CheckpointError, InputError
from opsnet.inference import InferenceRules, load_checkpoint
from opsnet.panoptic.mask_filtering import MaskFiltering
from opsnet.settings import parse_filtering
from opsnet.train import build_module, portable_config
from opsnet.vocabulary import Vocabulary


@pytest.fixture(scope="module")
def loaded(trained):
    return load_checkpoint(trained.checkpoint, device="cpu")


def test_it_is_ready_to_predict(loaded) -> None:
    assert not any(m.training for m in loaded.model.modules())
    assert loaded.overlap == 0.8
    assert loaded.train_vocabulary == Vocabulary.load("scenes")


def test_every_weight_is_the_trained_one(loaded, trained, train_config, tmp_path) -> None:
    state = torch.load(trained.checkpoint, weights_only=False)["state_dict"]
    own = loaded.model.state_dict()
    assert {k.removeprefix("model.") for k in state if k.startswith("model.")} == {
        k for k in own if not k.startswith("clip.")
    }
    assert all(torch.equal(own[k.removeprefix("model.")], v) for k, v in state.items() if k.startswith("model."))
    module = build_module(train_config(tmp_path), loaded.train_vocabulary)
    assert module.model.clip.weights_hash == loaded.model.clip.weights_hash
    module.load_state_dict({**module.state_dict(), **state})
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(module.model.eval()(images)[0].query_embeds, loaded.model(images)[0].query_embeds)


def test_text_is_encoded_with_the_clip_of_the_checkpoint(loaded) -> None:
    bank = loaded.text(Vocabulary.from_names(["sea", "a tree"]))
    assert bank.embeds.shape == (2, loaded.model.clip.embed_dim)
    assert bank.embeds.norm(dim=1).tolist() == pytest.approx([1, 1])


def test_best_is_loaded_as_well_as_last(trained) -> None:
    assert load_checkpoint(trained.folder / "checkpoints" / "best.ckpt", device="cpu").overlap == 0.8


def test_a_checkpoint_from_before_it_held_the_rules_was_the_miniatures(trained, tmp_path) -> None:
    checkpoint = torch.load(trained.checkpoint, weights_only=True)
    del checkpoint["opsnet"]["config"]["inference"]
    torch.save(checkpoint, tmp_path / "old.ckpt")
    rules = load_checkpoint(tmp_path / "old.ckpt", device="cpu").rules
    assert rules.mask_filtering.settings() == MaskFiltering(kind="cls_iou", threshold=0.05).settings()
    assert {name: changes["threshold"] for name, changes in rules.filters.items()} == {
        "cls": 0.4, "iou": 0.1, "cls_iou": 0.05,
    }  # fmt: skip
    assert (rules.overlap, rules.shortest, rules.longest) == (0.8, None, 1333)


@pytest.mark.parametrize(("world", "threshold", "overlap"), [("scenes", 0.4, 0.6), ("real", 0.8, 0.8)])
def test_a_checkpoint_carries_the_rules_of_its_world(world: str, threshold: float, overlap: float, compose) -> None:
    cfg = compose("train", f"world={world}", "filtering=cls", "clip.model.weights=random")
    config = portable_config(cfg, Vocabulary.load("scenes"))
    rules = InferenceRules.of(config)
    assert (rules.mask_filtering.threshold, rules.overlap) == (threshold, overlap)
    assert parse_filtering("cls", filters=rules.filters).threshold == threshold
    # The miniature is evaluated at the images' own size, COCO at 800 pixels.
    assert (rules.shortest, rules.longest) == ((None, 1333) if world == "scenes" else (800, 1333))


def test_the_filter_of_a_checkpoint_is_none_to_train_with(compose) -> None:
    cfg = compose("train", "filtering=trained", "clip.model.weights=random")
    with pytest.raises(InputError, match="filtering=trained is the filter of a checkpoint: choose one to train with"):
        portable_config(cfg, Vocabulary.load("scenes"))


def test_names_of_image_labels_count_as_known_if_asked(trained, tmp_path) -> None:
    checkpoint = torch.load(trained.checkpoint, weights_only=True)
    labels = Vocabulary.from_names(["red circle", "blue moon"], "labels")
    checkpoint["opsnet"]["config"]["label_vocabulary"] = {"name": labels.name, "categories": labels.categories()}
    torch.save(checkpoint, tmp_path / "plus.ckpt")
    scenes = Vocabulary.load("scenes")
    assert load_checkpoint(tmp_path / "plus.ckpt", device="cpu").train_vocabulary == scenes
    known = load_checkpoint(tmp_path / "plus.ckpt", device="cpu", label_names_known=True).train_vocabulary
    assert known.names == (*scenes.names, "blue moon")
    with pytest.raises(CheckpointError, match=r"last\.ckpt was trained without image labels: give label_names_known"):
        load_checkpoint(trained.checkpoint, device="cpu", label_names_known=True)


def test_another_folder_does_not_matter(trained, tmp_path, monkeypatch) -> None:
    moved = tmp_path / "moved.ckpt"
    moved.write_bytes(trained.checkpoint.read_bytes())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPSNET_DATA", "/nowhere")
    assert load_checkpoint("moved.ckpt", device="cpu").train_vocabulary.name == "scenes"


def test_a_truncated_checkpoint_is_named(trained, tmp_path) -> None:
    (tmp_path / "half.ckpt").write_bytes(trained.checkpoint.read_bytes()[:10_000])
    with pytest.raises(CheckpointError, match=r"half\.ckpt is not an OPSNet checkpoint"):
        load_checkpoint(tmp_path / "half.ckpt", device="cpu")
