"""Names of inference settings: what they build, and what is said about a wrong one."""

from __future__ import annotations

import pytest

from opsnet.errors import InputError
from opsnet.recognition.modulation import ClipOnly, EmbeddingModulation, FixedEnsemble, QueryOnly
from opsnet.settings import paper_settings, parse_setting


def test_a_name_has_two_halves() -> None:
    setting = parse_setting("full/cls_iou")
    assert (setting.name, setting.recognition, setting.filter) == ("full/cls_iou", "full", "cls_iou")
    assert isinstance(setting.modulation, EmbeddingModulation)
    assert (setting.modulation.alpha, setting.modulation.beta) == (10.0, 0.5)  # the paper's
    assert setting.filtering.kind == "cls_iou"
    assert setting.clip_embeds == "pooling"


@pytest.mark.parametrize(("name", "kind"), [("query_only/cls", QueryOnly), ("clip_only/iou", ClipOnly)])
def test_either_half_comes_from_its_yaml(name: str, kind: type) -> None:
    setting = parse_setting(name)
    assert isinstance(setting.modulation, kind)
    assert setting.filtering.kind == name.partition("/")[2]


@pytest.mark.parametrize("weight", [1, 2, 3, 4])
def test_ensembles_carry_their_weight(weight: int) -> None:
    modulation = parse_setting(f"ensemble_{weight}/cls_iou").modulation
    assert isinstance(modulation, FixedEnsemble)
    assert modulation.clip_weight == weight


def test_fusion_only_does_not_debias() -> None:
    modulation = parse_setting("fusion_only/cls_iou").modulation
    assert (modulation.alpha, modulation.beta) == (10.0, 0.0)


@pytest.mark.parametrize("crops", ["masking", "cropping"])
def test_pictures_of_each_proposal_use_clip_alone(crops: str) -> None:
    setting = parse_setting(f"{crops}/cls_iou")
    assert isinstance(setting.modulation, ClipOnly)
    assert setting.clip_embeds == crops


def test_a_cell_of_the_grid() -> None:
    modulation = parse_setting("alpha=2.5,beta=0/iou").modulation
    assert isinstance(modulation, EmbeddingModulation)
    assert (modulation.alpha, modulation.beta) == (2.5, 0.0)


@pytest.mark.parametrize(
    "text", ["alpha=5,beta=x", "alpha=", "alpha=5,beta", "alpha=5,gamma=1", "alpha=-1,beta=0", "alpha=5,beta=0,0"]
)
def test_a_cell_that_cannot_be_read_shows_the_form(text: str) -> None:
    with pytest.raises(InputError, match=f"setting '{text}' must look like alpha=5,beta=0.25"):
        parse_setting(f"{text}/cls_iou")


def test_an_unknown_recognition_lists_the_known() -> None:
    with pytest.raises(InputError) as error:
        parse_setting("fulll/cls_iou")
    assert "setting 'fulll/cls_iou': no modulation 'fulll'" in str(error.value)
    for known in ("full", "query_only", "ensemble_4", "masking", "cropping", "alpha=A,beta=B"):
        assert known in str(error.value)


@pytest.mark.parametrize("name", ["full", "full/", "full/classes"])
def test_an_unknown_filter_lists_the_known(name: str) -> None:
    with pytest.raises(InputError, match="one of cls, cls_iou, cls_iou_filter, iou, objectness$"):
        parse_setting(name)


def test_the_papers_settings_can_all_be_built() -> None:
    names = paper_settings()
    assert len(names) == len(set(names)) == 12 + 6 + 6 * 6
    for name in names:
        assert parse_setting(name).name == name


def test_the_grid_of_the_paper_can_be_another() -> None:
    grid = [name for name in paper_settings(alphas=(1,), betas=(0.125, 2)) if name.startswith("alpha")]
    assert grid == ["alpha=1,beta=0.125/cls_iou", "alpha=1,beta=2/cls_iou"]
