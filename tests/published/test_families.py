"""A file's family is recognised by the names of its tensors."""

from __future__ import annotations

import pytest
from published_files import fcclip_state, ovrcoat_state

from opsnet.published.families import recognise
from opsnet.segmenter.published.weight_files import WeightsError

PREDICTOR = "sem_seg_head.predictor."
HEADS = (f"{PREDICTOR}class_embed.layers.0.weight", f"{PREDICTOR}_mask_pooling_proj.0.weight", "void_embedding.weight")


@pytest.mark.parametrize(
    ("names", "family"),
    [
        (HEADS, "FC-CLIP"),
        ((*HEADS, "backbone.clip_model.logit_scale"), "FC-CLIP"),
        ((*HEADS, "frozen_backbone.clip_model.logit_scale"), "OVRCOAT"),
        ((f"{PREDICTOR}class_embed.weight",), "Mask2Former (detectron2)"),
        (("model.transformer_module.queries_features.weight", "class_predictor.weight"), "Mask2Former (transformers)"),
        (("transformer_module.queries_features.weight",), "Mask2Former (transformers)"),
    ],
)
def test_families_by_their_names(names, family) -> None:
    assert recognise(names, "a.pth").name == family


def test_whole_networks(convnext) -> None:
    for with_clip in (True, False):
        found = recognise(fcclip_state(convnext.network, with_clip=with_clip), "a.pth")
        assert (found.name, found.is_open) == ("FC-CLIP", True)
    assert recognise(ovrcoat_state(convnext.network), "a.pth").inference.recognizer["clip_trust"] == 0.5


def test_the_settings_are_the_publishers() -> None:
    open_family, closed = recognise(HEADS, "a"), recognise([f"{PREDICTOR}class_embed.weight"], "a")
    assert open_family.inference.recognizer == {
        "_target_": "opsnet.recognition.geometric_ensemble.GeometricEnsemble",
        "seen": 0.4, "unseen": 0.8, "seen_by": "text", "clip_trust": 0.0,
    }  # fmt: skip
    assert (open_family.inference.shortest, open_family.inference.longest, open_family.inference.overlap) == (
        800, 1333, 0.8,
    )  # fmt: skip
    assert open_family.inference.filtering["threshold"] == 0
    assert closed.inference.recognizer == {"_target_": "opsnet.recognition.modulation.ClipOnly"}
    assert closed.inference.filtering == {"kind": "iou", "threshold": 0.8}


@pytest.mark.parametrize("names", [("fc.weight", "fc.bias"), HEADS[1:], ("backbone.clip_model.logit_scale",)])
def test_another_network_is_refused(names) -> None:
    with pytest.raises(WeightsError, match=rf"weights a.pth are of no known model: {len(names)} tensors such as"):
        recognise(names, "a.pth")
