"""conf/evaluate.yaml as plain values."""

from __future__ import annotations

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from opsnet.evaluation.options import EvaluationOptions, option_values


def read(cfg) -> EvaluationOptions:
    return EvaluationOptions(**option_values(OmegaConf.create(cfg)))


def test_what_is_null_keeps_its_default() -> None:
    assert read({"output": "out", "table": None, "device": None}) == EvaluationOptions(Path("out"))


@pytest.mark.parametrize(("given", "expected"), [("full/cls", ("full/cls",)), (["a/cls", "b/iou"], ("a/cls", "b/iou"))])
def test_one_setting_or_several(given, expected) -> None:
    assert read({"output": "out", "settings": given}).settings == expected


def test_lists_are_numbers_and_nulls_are_left_out() -> None:
    cfg = {
        "output": "out", "tune": {"threshold": [0, 0.5], "overlap": None}, "filters": {"cls": {"threshold": None}},
        "data": {"split": "tuning", "tuning_images": 7},
    }  # fmt: skip
    options = read(cfg)
    assert options.tune == {"threshold": [0.0, 0.5]}
    assert options.filters == {"cls": {}}
    assert (options.split, options.tuning_images) == ("tuning", 7)


def test_every_key_of_the_yaml_is_an_option_or_belongs_to_the_command(compose) -> None:
    cfg = compose("evaluate", "output=out")
    groups = {"paths", "data", "backbone", "clip", "model", "losses", "image_labels", "optim", "trainer", "world"}
    others = groups | {"modulation", "world_backbone", "experiment", "sweep", "show", "hydra"}
    assert set(map(str, cfg)) - set(EvaluationOptions.__dataclass_fields__) <= others
    assert EvaluationOptions(**option_values(cfg)).panels == cfg.panels == 4
