"""The content of a checkpoint."""

from __future__ import annotations

import pytest

from opsnet.checkpoint.content import add_content, frozen_weights, portable_config, trained_weights
from opsnet.inference.config import InferenceConfig, recognizer_name
from opsnet.inference.settings import parse_filtering
from opsnet.utils.errors import InputError
from opsnet.vocabulary import Vocabulary


@pytest.mark.parametrize(("world", "threshold", "overlap"), [("scenes", 0.4, 0.6), ("real", 0.8, 0.8)])
def test_a_checkpoint_carries_the_inference_config_of_its_world(
    world: str, threshold: float, overlap: float, compose
) -> None:
    cfg = compose("train", f"world={world}", "filtering=cls", "clip.model.weights=random")
    config = portable_config(cfg, Vocabulary.load("scenes"))
    inference = InferenceConfig.of(config)
    assert (inference.mask_filtering.threshold, inference.overlap) == (threshold, overlap)
    assert parse_filtering("cls", filters=inference.filters).threshold == threshold
    # The miniature is evaluated at the images' own size, COCO at 800 pixels.
    assert (inference.shortest, inference.longest) == ((None, 1333) if world == "scenes" else (800, 1333))


def test_what_is_a_checkpoints_own_is_none_to_train_with(compose) -> None:
    for group, message in (("filtering", "is the filter of a checkpoint"), ("modulation", "is the recognizer of a")):
        cfg = compose("train", f"{group}=trained", "clip.model.weights=random")
        with pytest.raises(InputError, match=f"{group}=trained {message}.*: choose one to train with"):
            portable_config(cfg, Vocabulary.load("scenes"))


def test_a_checkpoint_carries_how_its_semantic_maps_are_made(compose) -> None:
    for given in ("panoptic", "proposals"):
        cfg = compose("train", f"semantic={given}", "clip.model.weights=random")
        assert InferenceConfig.of(portable_config(cfg, Vocabulary.load("scenes"))).semantic == given
    cfg = compose("train", "semantic=masks", "clip.model.weights=random")
    with pytest.raises(InputError, match="semantic must be panoptic or proposals, got masks: change `semantic`"):
        portable_config(cfg, Vocabulary.load("scenes"))


@pytest.mark.parametrize("modulation", ["full", "query_only", "ensemble_2", "geometric_ensemble"])
def test_a_checkpoint_carries_its_recognizer(modulation: str, compose) -> None:
    cfg = compose("train", f"modulation={modulation}", "clip.model.weights=random")
    inference = InferenceConfig.of(portable_config(cfg, Vocabulary.load("scenes")))
    assert recognizer_name(inference.recognizer) == modulation


def test_no_path_of_the_machine_that_trained_is_stored_but_that_of_clip(compose, tmp_path) -> None:
    (tmp_path / "templates.txt").write_text("a photo of a {}\nthe {}\n")
    given = [f"clip.templates={tmp_path / 'templates.txt'}", f"backbone.weights={tmp_path / 'w.pt'}"]
    cfg = compose("train", "world=real", "backbone=efficientnet_lite2", f"paths.cache={tmp_path}", *given)
    config = portable_config(cfg, Vocabulary.load("coco"))
    assert config["clip"]["templates"] == ["a photo of a {}", "the {}"]
    assert str(tmp_path) not in str(config)
    named = portable_config(compose("train", "clip.templates=vild14"), Vocabulary.load("scenes"))
    assert named["clip"]["templates"] == "vild14"


def test_frozen_weights_stay_out() -> None:
    state = {"model.clip.a": 1, "model.c": 3}
    checkpoint = {"state_dict": state}
    add_content(checkpoint, "abc", {"some": "config"})
    assert checkpoint == {"state_dict": {"model.c": 3}, "opsnet": {"clip_hash": "abc", "config": {"some": "config"}}}
    assert {**trained_weights(state), **frozen_weights(state)} == state
