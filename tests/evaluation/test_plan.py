"""The plan of an evaluation from its configuration."""

from __future__ import annotations

import dataclasses

import pytest
from omegaconf import OmegaConf

from opsnet.checkpoint.stored_network import build_recognizer
from opsnet.evaluation.options import EvaluationOptions, option_values
from opsnet.evaluation.plan import Plan, plan_of
from opsnet.inference.config import InferenceConfig
from opsnet.inference.setting_lists import paper_settings
from opsnet.utils.errors import InputError

MINIATURE = InferenceConfig.of({"overlap": 0.6})


def plan(inference: InferenceConfig = MINIATURE, **keys) -> Plan:
    given = {
        "settings": None, "output": "out", "panels": 4, "panel_setting": None, "details": True, "instances": False,
        "oracles": False, "detail_setting": None, "filters": {"cls": {"threshold": None}}, "overlap": None,
        "tune": {"threshold": None, "overlap": None},
    }  # fmt: skip
    return plan_of(
        EvaluationOptions(**option_values(OmegaConf.create({**given, **keys}))),
        inference,
        build_recognizer(inference.recognizer, "the checkpoint"),
    )


def test_default_settings_are_those_of_the_paper_except_the_slow_ones() -> None:
    found = plan()
    assert [s.name for s in found.settings] == paper_settings(other_sources=False)
    assert (found.panel_setting, found.detail_settings) == ("full/cls_iou", ("full/cls_iou",))
    assert found.sources == ("pooling",)  # CLIP runs once per image, not once per proposal
    assert plan(settings=["masking/cls_iou"]).sources == ("masking",)


def test_a_checkpoint_with_another_filter_is_scored_with_it_too() -> None:
    rules = dataclasses.replace(MINIATURE, filtering={"kind": "cls", "threshold": 0.125})
    found = plan(rules)
    assert [s.name for s in found.settings] == [*paper_settings(other_sources=False), "full/trained"]
    assert found.settings[-1].filtering.threshold == 0.125


def test_a_checkpoint_with_another_recognizer_is_scored_and_detailed_with_it() -> None:
    query = dataclasses.replace(MINIATURE, recognizer={"_target_": "opsnet.recognition.modulation.QueryOnly"})
    found = plan(query)
    assert [s.name for s in found.settings] == paper_settings(other_sources=False)  # query_only/cls_iou is among them
    assert (found.panel_setting, found.detail_settings) == ("query_only/cls_iou", ("query_only/cls_iou",))
    target = "opsnet.recognition.geometric_ensemble.GeometricEnsemble"
    other = dataclasses.replace(MINIATURE, recognizer={"_target_": target, "seen": 0.1, "unseen": 0.9})
    found = plan(other)
    assert [s.name for s in found.settings] == [*paper_settings(other_sources=False), "trained/trained"]
    assert (found.settings[-1].recognizer.seen, found.settings[-1].recognizer.unseen) == (0.1, 0.9)
    tuned = plan(query, tune={"threshold": [0], "overlap": None})
    assert [s.name for s in tuned.settings] == ["query_only/trained,threshold=0"]


def test_a_recognizer_that_learns_is_the_checkpoints_and_not_one_built_anew() -> None:
    learned = {"_target_": "opsnet.recognition.learned_modulation.LearnedModulation", "alpha": 10.0, "beta": 0.5}
    found = plan(dataclasses.replace(MINIATURE, recognizer=learned))  # the numbers of conf/modulation/learned.yaml
    assert [s.name for s in found.settings] == [*paper_settings(other_sources=False), "trained/trained"]
    assert list(found.settings[-1].recognizer.parameters())


def test_thresholds_are_those_of_the_checkpoints_world_unless_the_configuration_has_others() -> None:
    names = ["full/cls", "full/iou", "full/cls_iou", "full/cls,threshold=0.2"]

    def thresholds(**keys) -> list[float]:
        return [s.filtering.threshold for s in plan(settings=names, **keys).settings]

    assert thresholds() == [0.4, 0.1, 0.05, 0.2]  # an early checkpoint without them has the miniature's
    assert thresholds(filters={"cls": {"threshold": 0.3}, "iou": {}}) == [0.3, 0.1, 0.05, 0.2]
    assert thresholds(inference=InferenceConfig({})) == [0.8, 0.1, 0.05, 0.2]


def test_the_overlap_is_the_checkpoints_the_configurations_or_the_settings() -> None:
    names = ["full/cls", "full/cls,overlap=0.25"]
    assert [s.overlap for s in plan(settings=names).settings] == [None, 0.25]
    assert [s.overlap for s in plan(settings=names, overlap=0.5).settings] == [0.5, 0.25]


def test_a_grid_is_scored_with_the_filter_of_the_training_or_of_the_settings() -> None:
    tune = {"threshold": [0, 0.1], "overlap": None}
    assert [s.name for s in plan(tune=tune).settings] == ["full/trained,threshold=0", "full/trained,threshold=0.1"]
    found = plan(tune={"threshold": [0.1], "overlap": [0.5, 0.8]}, settings=["full/cls", "full/iou"])
    assert [(s.filtering.kind, s.filtering.threshold, s.overlap) for s in found.settings] == [
        ("cls", 0.1, 0.5), ("cls", 0.1, 0.8), ("iou", 0.1, 0.5), ("iou", 0.1, 0.8),
    ]  # fmt: skip


def test_one_setting_as_a_text_and_the_same_setting_twice() -> None:
    assert [s.name for s in plan(settings="full/cls").settings] == ["full/cls"]
    assert [s.name for s in plan(settings=["full/cls", "full/cls"]).settings] == ["full/cls"]


def test_the_first_setting_is_detailed_if_the_default_is_not_scored() -> None:
    found = plan(settings=["query_only/cls", "full/cls"])
    assert (found.panel_setting, found.detail_settings) == ("query_only/cls", ("query_only/cls",))
    assert plan(settings=["query_only/cls"], detail_setting=["query_only/cls"]).detail_settings == ("query_only/cls",)


def test_a_setting_that_is_not_scored_cannot_be_detailed() -> None:
    with pytest.raises(InputError, match="detail_setting full/cls is not among `settings`"):
        plan(settings=["full/iou"], detail_setting="full/cls")
    with pytest.raises(InputError, match="panel_setting full/cls is not among `settings`"):
        plan(settings=["full/iou"], panel_setting="full/cls")
    assert plan(settings=["full/iou"], panel_setting="full/cls", panels=0, detail_setting="full/iou").panels == 0


def test_whether_any_detail_is_requested() -> None:
    assert not plan(details=False).details
    assert plan(details=False, oracles=True).details
    assert plan(details=False, semantic_from_proposals=True).details


def test_maps_from_proposals_are_scored_if_the_checkpoints_are_made_so() -> None:
    proposals = dataclasses.replace(MINIATURE, semantic="proposals")
    assert not plan().details.semantic
    assert plan(semantic_from_proposals=True).details.semantic
    assert plan(proposals).details.semantic
    assert not plan(proposals, semantic_from_proposals=False).details.semantic
