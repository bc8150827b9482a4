"""What a configuration asks for in every domain."""

from __future__ import annotations

import pytest
from omegaconf import OmegaConf

from opsnet.errors import InputError
from opsnet.evaluation.plan import Plan, plan_of
from opsnet.settings import paper_settings


def plan(**keys) -> Plan:
    given = {
        "settings": None, "output": "out", "panels": 4, "panel_setting": None, "details": True, "instances": False,
        "oracles": False, "detail_setting": None,
    }  # fmt: skip
    return plan_of(OmegaConf.create({**given, **keys}))


def test_without_settings_all_of_the_papers() -> None:
    found = plan()
    assert [s.name for s in found.settings] == paper_settings()
    assert (found.panel_setting, found.detail_settings) == ("full/cls_iou", ("full/cls_iou",))
    assert found.sources == ("cropping", "masking", "pooling")


def test_one_setting_as_a_text_and_the_same_setting_twice() -> None:
    assert [s.name for s in plan(settings="full/cls").settings] == ["full/cls"]
    assert [s.name for s in plan(settings=["full/cls", "full/cls"]).settings] == ["full/cls"]


def test_the_first_is_looked_at_where_the_usual_one_is_not_scored() -> None:
    found = plan(settings=["query_only/cls", "full/cls"])
    assert (found.panel_setting, found.detail_settings) == ("query_only/cls", ("query_only/cls",))
    assert plan(settings=["query_only/cls"], detail_setting=["query_only/cls"]).detail_settings == ("query_only/cls",)


def test_what_is_not_scored_cannot_be_looked_at() -> None:
    with pytest.raises(InputError, match="detail_setting full/cls is not among `settings`"):
        plan(settings=["full/iou"], detail_setting="full/cls")
    with pytest.raises(InputError, match="panel_setting full/cls is not among `settings`"):
        plan(settings=["full/iou"], panel_setting="full/cls")
    assert plan(settings=["full/iou"], panel_setting="full/cls", panels=0, detail_setting="full/iou").panels == 0


def test_whether_anything_is_looked_at() -> None:
    assert not plan(details=False).wanted
    assert plan(details=False, oracles=True).wanted
