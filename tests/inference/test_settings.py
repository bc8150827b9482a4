"""Names of inference settings: what they build, and the errors for invalid ones."""

from __future__ import annotations

import pytest

from opsnet.checkpoint.stored_network import build_recognizer
from opsnet.inference.setting_lists import grid, paper_settings
from opsnet.inference.settings import (
    parse_filtering,
    parse_recognizer,
    parse_setting,
    recognizer_config,
)  # fmt: skip
from opsnet.panoptic.mask_filtering import MaskFiltering
from opsnet.recognition.geometric_ensemble import GeometricEnsemble
from opsnet.recognition.modulation import ClipOnly, EmbeddingModulation, FixedEnsemble, QueryOnly
from opsnet.utils.errors import InputError


def test_a_name_has_two_halves() -> None:
    setting = parse_setting("full/cls_iou")
    assert (setting.name, setting.recognition, setting.filter) == ("full/cls_iou", "full", "cls_iou")
    assert isinstance(setting.recognizer, EmbeddingModulation)
    assert (setting.recognizer.alpha, setting.recognizer.beta) == (10.0, 0.5)  # the paper's
    assert setting.filtering.kind == "cls_iou"
    assert setting.clip_embeds == "pooling"


@pytest.mark.parametrize(("name", "kind"), [("query_only/cls", QueryOnly), ("clip_only/iou", ClipOnly)])
def test_either_half_comes_from_its_yaml(name: str, kind: type) -> None:
    setting = parse_setting(name)
    assert isinstance(setting.recognizer, kind)
    assert setting.filtering.kind == name.partition("/")[2]


@pytest.mark.parametrize("weight", [1, 2, 3, 4])
def test_ensembles_carry_their_weight(weight: int) -> None:
    modulation = parse_setting(f"ensemble_{weight}/cls_iou").recognizer
    assert isinstance(modulation, FixedEnsemble)
    assert modulation.clip_weight == weight


def test_fusion_only_does_not_debias() -> None:
    modulation = parse_setting("fusion_only/cls_iou").recognizer
    assert (modulation.alpha, modulation.beta) == (10.0, 0.0)


@pytest.mark.parametrize("source", ["masking", "cropping", "masked_attention"])
def test_other_clip_embeddings_than_the_pooled_use_only_clip(source: str) -> None:
    setting = parse_setting(f"{source}/cls_iou")
    assert isinstance(setting.recognizer, ClipOnly)
    assert setting.clip_embeds == source


def test_a_cell_of_the_grid() -> None:
    modulation = parse_setting("alpha=2.5,beta=0/iou").recognizer
    assert isinstance(modulation, EmbeddingModulation)
    assert (modulation.alpha, modulation.beta) == (2.5, 0.0)


@pytest.mark.parametrize("text", ["alpha=5,beta=x", "alpha=", "alpha=5,beta", "alpha=5,gamma=1", "alpha=5,beta=0,0"])
def test_a_cell_that_cannot_be_read_shows_the_form(text: str) -> None:
    with pytest.raises(InputError, match=f"setting '{text}' must look like alpha=5,beta=0.25"):
        parse_setting(f"{text}/cls_iou")


@pytest.mark.parametrize("text", ["alpha=-1,beta=0", "alpha=10,beta=1e6", "alpha=nan,beta=0"])
def test_a_cell_out_of_range_says_the_range(text: str) -> None:
    with pytest.raises(
        InputError, match=rf"setting '{text}': modulation\.alpha must lie in 0\.\.1000 .*beta in 0\.\.10, got"
    ):
        parse_setting(f"{text}/cls_iou")


def test_options_of_a_filter() -> None:
    found = parse_filtering("cls_iou,threshold=0.1,drop_no_object=true")
    assert (found.kind, found.threshold, found.drop_no_object) == ("cls_iou", 0.1, True)
    trained = MaskFiltering(kind="iou", threshold=0.7, compete="cls")
    assert parse_filtering("trained, threshold=0.2", trained=trained).settings() == {
        **trained.settings(), "threshold": 0.2,
    }  # fmt: skip
    for text, message in {
        "cls_iou,threshold": "the options of a filter are",
        "cls_iou,threshold=nan": r"threshold=0\.1 and overlap=0\.8 \(0\.\.1\)",
        "cls_iou,overlap=0.7": "overlap is no option of the filter",
        "x,threshold=0.1": "no filtering 'x'",
    }.items():
        with pytest.raises(InputError, match=message):
            parse_filtering(text)


def test_an_unknown_recognition_lists_the_known() -> None:
    with pytest.raises(InputError) as error:
        parse_setting("fulll/cls_iou")
    assert "setting 'fulll/cls_iou': no modulation 'fulll'" in str(error.value)
    for known in ("full", "query_only", "ensemble_4", "masking", "cropping", "masked_attention", "alpha=A,beta=B"):
        assert known in str(error.value)


@pytest.mark.parametrize("name", ["full", "full/", "full/classes"])
def test_an_unknown_filter_lists_the_known(name: str) -> None:
    with pytest.raises(InputError, match="one of cls, cls_iou, cls_iou_filter, fcclip, iou, objectness, trained$"):
        parse_setting(name)


def test_options_change_the_filter() -> None:
    setting = parse_setting("alpha=5,beta=0/cls_iou,threshold=0.2,compete=cls,drop_no_object=true,overlap=0.7")
    assert setting.filtering.settings() == MaskFiltering(threshold=0.2, compete="cls", drop_no_object=True).settings()
    assert (setting.overlap, setting.recognizer.alpha) == (0.7, 5.0)
    assert setting.filter == "cls_iou,threshold=0.2,compete=cls,drop_no_object=true,overlap=0.7"
    assert parse_setting("full/cls_iou").overlap is None


@pytest.mark.parametrize("options", ["threshold", "threshold=x", "thresholds=1", "drop_no_object=1", "threshold=1=2"])
def test_options_that_cannot_be_read_show_the_form(options: str) -> None:
    with pytest.raises(InputError, match=f"setting 'full/cls,{options}': the options of a filter are threshold="):
        parse_setting(f"full/cls,{options}")


def test_another_kind_of_score_that_does_not_exist() -> None:
    with pytest.raises(InputError, match="filtering.compete must be one of cls, iou, cls_iou, got 'x'"):
        parse_setting("full/cls,compete=x")


def test_thresholds_are_the_references_unless_a_world_has_its_own() -> None:
    of = {name: parse_filtering(name).threshold for name in ("cls", "fcclip")}
    assert of == {"cls": 0.8, "fcclip": 0.0}  # Mask2Former, FC-CLIP
    assert parse_filtering("fcclip").drop_no_object
    filters = {"cls": {"threshold": 0.4}, "cls_iou": {"drop_no_object": True}}
    assert parse_filtering("cls", filters=filters).threshold == 0.4
    assert parse_setting("full/cls", filters=filters).filtering.threshold == 0.4
    assert parse_setting("full/cls,threshold=0.3", filters=filters).filtering.threshold == 0.3
    assert parse_filtering("cls_iou", filters=filters).drop_no_object
    assert parse_filtering("fcclip", filters=filters).threshold == 0


def test_the_filter_of_the_training() -> None:
    own = MaskFiltering(kind="cls", threshold=0.6)
    assert parse_setting("full/trained", trained=own).filtering.settings() == own.settings()
    assert parse_setting("full/trained,threshold=0.1", trained=own).filtering.threshold == 0.1
    assert own.threshold == 0.6
    with pytest.raises(InputError, match="filter 'trained' is that of a checkpoint's training"):
        parse_setting("full/trained")


def test_a_grid_of_thresholds_and_overlaps() -> None:
    names = grid(["full/cls", "alpha=1,beta=0/iou"], {"threshold": [0, 0.125], "overlap": [0.8]})
    assert names == [
        "full/cls,threshold=0,overlap=0.8", "full/cls,threshold=0.125,overlap=0.8",
        "alpha=1,beta=0/iou,threshold=0,overlap=0.8", "alpha=1,beta=0/iou,threshold=0.125,overlap=0.8",
    ]  # fmt: skip
    assert [parse_setting(name).filtering.threshold for name in names] == [0, 0.125, 0, 0.125]
    assert grid(["full/cls"], {}) == ["full/cls"]


def test_without_further_passes_of_clip() -> None:
    slow = {f"{source}/cls_iou" for source in ("masking", "cropping", "masked_attention")}
    assert set(paper_settings()) - set(paper_settings(other_sources=False)) == slow


def test_the_papers_settings_can_all_be_built() -> None:
    names = paper_settings()
    assert len(names) == len(set(names)) == 12 + 7 + 6 * 6
    for name in names:
        assert parse_setting(name).name == name


def test_the_grid_of_the_paper_can_be_another() -> None:
    grid = [name for name in paper_settings(alphas=(1,), betas=(0.125, 2)) if name.startswith("alpha")]
    assert grid == ["alpha=1,beta=0.125/cls_iou", "alpha=1,beta=2/cls_iou"]


# --- of a checkpoint --------------------------------------------------------------------------------------------------


def test_a_name_is_one_of_the_listing_and_no_path(tmp_path) -> None:
    canary, evil = tmp_path / "canary", tmp_path / "evil.yaml"
    evil.write_text(f"_target_: os.system\ncommand: touch {canary}\n")
    for name in (str(evil.with_suffix("")), f"../../../../../../../..{evil.with_suffix('')}"):
        with pytest.raises(InputError, match="no modulation '.*evil'"):
            parse_recognizer(name)
        with pytest.raises(InputError, match="no filtering '.*evil'"):
            parse_filtering(name)
    assert not canary.exists()


def test_the_recognizer_of_a_checkpoint_has_a_name_too() -> None:
    own = QueryOnly()
    assert parse_setting("trained/cls", recognizer=own).recognizer is own
    with pytest.raises(InputError, match="recognizer 'trained' is that of a checkpoint"):
        parse_setting("trained/cls")


@pytest.mark.parametrize(
    "recognizer",
    [QueryOnly(), ClipOnly(), FixedEnsemble(clip_weight=2), EmbeddingModulation(alpha=7), GeometricEnsemble()],
)
def test_a_recognizer_is_built_again_from_its_configuration(recognizer) -> None:
    again = build_recognizer(recognizer_config(recognizer), "mine")
    assert type(again) is type(recognizer)
    assert recognizer_config(again) == recognizer_config(recognizer)
