"""Semantic scores and instances from a small FC-CLIP's masks and logits equal those of its own code."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from opsnet.inference.semantic import class_probabilities, mask_probabilities, semantic_labels, semantic_scores
from opsnet.metrics.instances import instances_from_proposals

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "published_models" / "fcclip_small"
SIZE, PADDED = (97, 141), (128, 160)


@pytest.fixture(params=["convnext", "rn50"])
def published(request):
    """The published tensors, the names' kinds, and the masks and class probabilities that we compute from them."""
    folder = DATA / request.param
    if not folder.is_dir():
        pytest.skip("the small FC-CLIP is not on this machine")
    expected = {key: torch.from_numpy(value) for key, value in np.load(folder / "expected.npz").items()}
    about = json.loads((folder / "about.json").read_text())
    masks, logits = expected["pred_masks"], expected["final_logits"]
    is_thing = [i in about["test_things"] for i in range(len(about["test_names"]))]
    return (
        expected,
        is_thing,
        mask_probabilities(masks[0], PADDED, SIZE, SIZE),
        class_probabilities(logits[:, :-1], logits[:, -1]),
    )


def test_semantic_scores(published) -> None:
    expected, _, masks, classes = published
    torch.testing.assert_close(semantic_scores(masks, classes), expected["sem_seg"], rtol=0, atol=1e-4)
    assert torch.equal(semantic_labels(masks, classes), expected["sem_seg"].argmax(0))
    assert expected["sem_seg"].std((1, 2)).min() > 0.1  # the scores vary, although one name wins everywhere


def test_instance_scores_and_classes(published) -> None:
    expected, is_thing, masks, classes = published
    found = instances_from_proposals(masks, classes, is_thing)
    ours = sorted((one.label, one.score) for one in found)
    theirs = sorted(zip(expected["instance_classes"].tolist(), expected["instance_scores"].tolist(), strict=True))
    assert [label for label, _ in ours] == [label for label, _ in theirs]
    assert [score for _, score in ours] == pytest.approx([score for _, score in theirs], abs=1e-4)
    assert len(found) > 0
