"""Inference settings: stored formats, and names of recognizers."""

from __future__ import annotations

import pytest
from omegaconf import OmegaConf

from opsnet.inference.config import (
    FULL,
    SEMANTIC,
    TRAINED,
    InferenceConfig,
    checked_semantic,
    recognizer_name,
    recognizer_of,
)
from opsnet.utils.configuration import option, options
from opsnet.utils.errors import InputError


def test_the_default_recognizer_is_the_papers() -> None:
    assert OmegaConf.to_container(option("modulation", "full")) == FULL
    assert InferenceConfig({}).recognizer == FULL


def test_every_form_that_checkpoints_have_had() -> None:
    oldest = InferenceConfig.of({"overlap": 0.6})
    assert (oldest.filtering["kind"], oldest.filters["cls"], oldest.overlap) == ("cls_iou", {"threshold": 0.4}, 0.6)
    older = InferenceConfig.of({"overlap": 0.7, "inference": {"filtering": {"kind": "cls"}, "filters": {}}})
    assert (older.filtering, older.overlap, older.recognizer) == ({"kind": "cls"}, 0.7, FULL)
    stored = {"overlap": 0.7, "inference": {"filtering": {}, "recognizer": {"_target_": "a.B"}}}
    assert InferenceConfig.of(stored).recognizer == {"_target_": "a.B"}
    assert InferenceConfig.of(stored).semantic == "panoptic"
    newer = {"overlap": 0.7, "inference": {"filtering": {}, "semantic": "proposals"}}
    assert InferenceConfig.of(newer).semantic == "proposals"


def test_how_semantic_maps_are_made() -> None:
    assert [checked_semantic(name) for name in SEMANTIC] == ["panoptic", "proposals"]
    with pytest.raises(InputError, match="semantic must be panoptic or proposals, got x"):
        checked_semantic("x")


def test_names_of_recognizers_lead_there_and_back() -> None:
    for name in options("modulation"):
        if name != TRAINED:
            assert recognizer_name(recognizer_of(name)) == name
    assert recognizer_of("alpha=5,beta=0.25") == {**FULL, "alpha": 5, "beta": 0.25}
    assert recognizer_name({**FULL, "alpha": 5}) == "alpha=5,beta=0.5"
    assert recognizer_name({"_target_": "mine.Recognizer"}) == TRAINED


@pytest.mark.parametrize("name", ["none", "trained", "../filtering/cls", "/tmp/evil", "full.yaml", ""])
def test_names_of_the_listing_only(name: str) -> None:
    with pytest.raises(KeyError):
        recognizer_of(name)


@pytest.mark.parametrize("name", ["alpha=x", "alpha=1,gamma=2", "alpha=1,beta"])
def test_strengths_that_cannot_be_read(name: str) -> None:
    with pytest.raises(ValueError):
        recognizer_of(name)
