"""AP on masks that can be counted by eye."""

from __future__ import annotations

import math

import numpy as np
import pytest
from pycocotools import mask as coco_masks

from opsnet.metrics.average_precision import INSTANCE_RULE, ImageInstances, InstanceResult, summarise_instances
from opsnet.metrics.instances import Instance


def block(first: int, last: int, label: int = 0, score: float = 1.0, is_crowd: bool = False) -> Instance:
    """Columns first..last - 1 of an image of 4 x 100 pixels."""
    mask = np.zeros((4, 100), np.uint8, order="F")
    mask[:, first:last] = 1
    return Instance(label, coco_masks.encode(mask), score, is_crowd)


def result(*images: tuple[list[Instance], list[Instance]]) -> InstanceResult:
    return summarise_instances([ImageInstances(tuple(p), tuple(t)) for p, t in images], num_classes=3)


def test_equal_masks_are_perfect() -> None:
    truth = [block(0, 10), block(20, 40), block(50, 60, label=2)]
    found = result((truth, truth), ([block(0, 5)], [block(0, 5)]))
    assert found.as_dict() == pytest.approx({"AP": 100, "AP50": 100, "AP75": 100})
    assert found.n == 2
    assert [c.instances for c in found.per_class] == [3, 0, 1]
    assert math.isnan(found.per_class[1].ap)


def test_a_shifted_mask() -> None:
    # 8 of 10 columns shared, a union of 12: IoU 2/3, right at 0.50, 0.55, 0.60 and 0.65 of ten.
    found = result(([block(2, 12)], [block(0, 10)]))
    assert found.as_dict() == pytest.approx({"AP": 40, "AP50": 100, "AP75": 0})


def test_the_wrong_class_finds_nothing() -> None:
    found = result(([block(0, 10, label=1)], [block(0, 10)]))
    assert found.as_dict() == {"AP": 0, "AP50": 0, "AP75": 0}
    assert math.isnan(found.per_class[1].ap), "only predicted"


def test_a_better_scored_mistake_costs_half_the_precision() -> None:
    right, wrong = block(0, 10, score=0.5), block(50, 60, score=0.75)
    assert result(([right, wrong], [block(0, 10)])).ap == pytest.approx(50)
    assert result(([block(0, 10, score=0.9), wrong], [block(0, 10)])).ap == pytest.approx(100)


def test_crowd_is_ignored() -> None:
    truth = [block(0, 10), block(50, 100, is_crowd=True)]
    inside = [block(55, 60, score=0.9), block(70, 90, score=0.8)]
    assert result(([block(0, 10, score=0.5), *inside], truth)).ap == pytest.approx(100)
    assert result(([block(0, 10, score=0.5), *inside], truth[:1])).ap == pytest.approx(100 / 3)
    assert result((inside, truth[1:])).n == 0


def test_without_a_true_instance_there_is_no_figure() -> None:
    for found in (result(), result(([], [])), result(([block(0, 1)], []))):
        assert (found.n, found.as_dict()) == (0, {})
        assert math.isnan(found.ap) and math.isnan(found.ap50) and math.isnan(found.ap75)
    assert result(([], [block(0, 10)])).as_dict() == {"AP": 0, "AP50": 0, "AP75": 0}


def test_nothing_is_printed_and_a_wrong_label_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    result(([block(0, 10)], [block(0, 10)]))
    assert capsys.readouterr() == ("", "")
    with pytest.raises(ValueError, match="outside the 3 classes"):
        result(([block(0, 10, label=3)], []))
    assert "crowd is ignored" in INSTANCE_RULE
