"""Why a map is empty, for each rule that can empty it."""

from __future__ import annotations

import pytest
import torch

from opsnet.panoptic.mask_filtering import MaskFiltering
from opsnet.prediction.carriers import NamedSegment, PanopticResult
from opsnet.prediction.no_segment import why_empty
from opsnet.vocabulary import Vocabulary

LOGITS, NO_OBJECT, IOU = torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([3.0, 2.0]), torch.tensor([0.5, 0.9])
EMPTY = PanopticResult(torch.zeros(2, 2, dtype=torch.int64), (), Vocabulary.load("sea, tree"))


@pytest.mark.parametrize(
    ("filtering", "expected"),
    [
        (
            MaskFiltering(kind="iou", threshold=0.95),
            "the best predicted IoU is 0.900, .* those above 0.95; lower",
        ),
        (MaskFiltering(kind="cls", threshold=0.5), "the best class score is 0.259, .* keeps those above 0.5; lower"),
        (MaskFiltering(kind="cls", threshold=0.1), "no-object scores higher than every name .*drop_no_object=false"),
        (MaskFiltering(kind="iou", threshold=0.6), "1 proposals are kept .* lose too much .* lower overlap"),
    ],
)
def test_the_rule_and_its_number(filtering: MaskFiltering, expected: str) -> None:
    with pytest.raises(AssertionError, match=expected):
        raise AssertionError(why_empty(EMPTY, filtering, LOGITS, NO_OBJECT, IOU, task="panoptic"))


def test_instances_without_things() -> None:
    stuff = NamedSegment(1, 0, False, name="sea")
    before = PanopticResult(torch.ones(2, 2, dtype=torch.int64), (stuff,), EMPTY.vocabulary)
    text = why_empty(before, MaskFiltering(), LOGITS, NO_OBJECT, IOU, task="instance")
    assert text == "no thing was found, only stuff (sea): task=instance leaves stuff out, task=panoptic has it"
