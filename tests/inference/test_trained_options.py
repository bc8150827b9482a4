"""The options trained of conf/modulation and conf/filtering: a checkpoint's own, with changes."""

from __future__ import annotations

import pytest

from opsnet.inference.trained_model import TrainedModel
from opsnet.inference.trained_options import TrainedFilter, choose_recognizer
from opsnet.panoptic.mask_filtering import MaskFiltering
from opsnet.recognition.modulation import ClipOnly, EmbeddingModulation, QueryOnly
from opsnet.utils.errors import InputError


def test_another_kind_brings_what_follows_from_it() -> None:
    found = TrainedFilter(kind="cls").of(MaskFiltering(kind="cls_iou", threshold=0.2))
    assert found.settings() == MaskFiltering(kind="cls", threshold=0.2).settings()
    kept = MaskFiltering(kind="cls", threshold=0.2, compete="iou")
    assert TrainedFilter(threshold=0.3).of(kept).settings() == {**kept.settings(), "threshold": 0.3}


def test_the_group_modulation_chooses_the_checkpoints_recognizer_a_changed_one_or_another(compose) -> None:
    def chosen(recognizer, *overrides: str):
        cfg = compose("predict", "checkpoint=a", "image=b", "vocabulary=c", *overrides)
        return choose_recognizer(cfg.modulation, TrainedModel(None, None, recognizer=recognizer))

    own = EmbeddingModulation(alpha=3, beta=0.25)
    assert chosen(own) is own
    changed = chosen(own, "modulation.alpha=5")
    assert (changed.alpha, changed.beta, own.alpha) == (5, 0.25, 3)
    assert type(chosen(own, "modulation=clip_only")) is ClipOnly
    assert type(chosen(QueryOnly())) is QueryOnly
    with pytest.raises(InputError, match=r"modulation\.alpha: the checkpoint's recognizer, query_only, has none"):
        chosen(QueryOnly(), "modulation.alpha=5")
