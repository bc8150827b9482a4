"""The base classes of losses."""

from __future__ import annotations

import pytest

from opsnet.losses.base import ImageLabelLoss, SegmentLoss
from opsnet.structures import ImageLabels, SegmentTargets


def test_the_base_class_determines_the_batches_of_a_loss() -> None:
    assert (SegmentLoss.targets, ImageLabelLoss.targets) == (SegmentTargets, ImageLabels)


@pytest.mark.parametrize("weight", [0, -1.0, float("nan"), float("inf")])
def test_an_invalid_weight_is_refused(weight) -> None:
    with pytest.raises(ValueError, match="the weight of SegmentLoss must be above 0 and finite, got "):
        SegmentLoss(weight=weight)
