"""The weighted sum of losses by name."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from segment_losses import POINTS, mask2former_losses, matched, one_empty_target, uncertain
from torch import Tensor

from opsnet.losses.base import ImageLabelLoss, SegmentLoss
from opsnet.losses.weighted_sum import Losses
from opsnet.structures import ImageLabels, SegmentTargets


class Layers(SegmentLoss):
    """Two layers."""

    def forward(self, context) -> Tensor:
        return torch.tensor([1.0, 2.0])

    def metrics(self, context) -> dict[str, Tensor]:
        return {"layers": torch.tensor(2.0)}


class Labels(ImageLabelLoss):
    """A scalar."""

    def forward(self, context) -> Tensor:
        return torch.tensor(7.0)


SEGMENTS = SimpleNamespace(targets=SegmentTargets([], []))
LABELS = SimpleNamespace(targets=ImageLabels([]))


def test_a_batch_has_the_losses_of_its_kind() -> None:
    losses = Losses({"a": Layers(weight=2.0), "b": Labels(weight=0.5), "c": Layers(weight=1.0)})
    assert losses(SEGMENTS) == {"a": 6.0, "c": 3.0, "loss": 9.0}
    assert losses(LABELS) == {"b": 3.5, "loss": 3.5}
    assert (losses.metrics(SEGMENTS), losses.metrics(LABELS)) == ({"layers": 2.0}, {})
    assert [list(losses.of(kind)) for kind in (SegmentTargets, ImageLabels, int)] == [["a", "c"], ["b"], []]


# Values at weight 1, by hand; equal proposals make the matching irrelevant.
UNITS = {"cross_entropy": math.log(4), "mask_bce": math.log(2), "dice": 1 - 1 / (POINTS / 2 + 1), "iou": 0.25}


@pytest.mark.parametrize("name", UNITS)
def test_each_weight_scales_its_own_loss(name: str) -> None:
    losses = mask2former_losses()
    for other, loss in losses.by_name.items():
        loss.weight = 7.0 if other == name else 1.0
    found = losses(matched([uncertain()], one_empty_target()))
    expected = {**UNITS, name: 7 * UNITS[name]}
    assert {k: v.item() for k, v in found.items() if k != "loss"} == pytest.approx(expected)
    assert found["loss"].item() == pytest.approx(sum(expected.values()))


@pytest.mark.parametrize(("name", "part"), [("loss", "'loss' is the name of the sum"), ("a.b", "a.b"), ("pop", "pop")])
def test_invalid_names_are_refused(name, part) -> None:
    with pytest.raises(ValueError, match=rf"{part}.*give that loss another name"):
        Losses({name: Layers(weight=1.0)})
