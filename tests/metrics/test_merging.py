"""States of parts of the images merge into the state of all of them, to the digit, in any order."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from opsnet.metrics.average_precision import ImageInstances, InstanceRecords
from opsnet.metrics.instances import Instance
from opsnet.metrics.merging import ExactSums, PanopticTotals, add_state, clear, state_of
from opsnet.metrics.panoptic_averages import PanopticCounts


def counts_of(generator: np.random.Generator) -> PanopticCounts:
    """Counts of one image of four classes, with up to nine matches of a class."""
    matches = generator.integers(0, 10, 4)
    ious = [float(np.sum(generator.uniform(0.5, 1, n))) for n in matches]
    return PanopticCounts(matches, *generator.integers(0, 5, (2, 4)), np.array(ious))


def test_sums_of_iou_equal_exact_fractions_and_their_order_does_not_matter() -> None:
    generator = np.random.default_rng(0)
    values = generator.uniform(0.5, 1, (500, 2))
    values[0] = (1.0, 0.0)
    found = []
    for order in (np.arange(500), generator.permutation(500)):
        sums = ExactSums(2)
        for row in values[order]:
            sums.add(row)
        found.append(sums.values().tolist())
    assert found[0] == found[1] == [float(sum(map(Fraction, column))) for column in values.T.tolist()]
    assert found[0] == [math.fsum(column) for column in values.T.tolist()]
    assert sum(values[:, 0].tolist()) != sum(values[::-1, 0].tolist()), "a plain sum depends on the order"


def test_small_numbers_are_rounded_once_each() -> None:
    values = np.random.default_rng(0).uniform(0, 1e-3, 1000)
    sums = ExactSums(1)
    for value in values:
        sums.add(np.array([value]))
    assert abs(Fraction(sums.values()[0].item()) - sum(map(Fraction, values.tolist()))) <= Fraction(1001, 2**54)


@pytest.mark.parametrize("parts", [2, 5])
def test_totals_of_parts_in_any_order_equal_those_of_all_images(parts: int) -> None:
    generator = np.random.default_rng(1)
    images = [counts_of(generator) for _ in range(41)]
    whole = PanopticTotals(4)
    for counts in images:
        whole.add(counts)
    part, states = PanopticTotals(4), []
    for rank in range(parts):
        for counts in images[rank::parts]:
            part.add(counts)
        states.append(state_of({"PQ": part}))
        clear({"PQ": part})
    assert part.counts().tp.sum() == 0
    merged = PanopticTotals(4)
    for state in states[::-1]:
        add_state({"PQ": merged}, state)
    for name in ("tp", "fp", "fn", "iou_sum"):
        assert getattr(merged.counts(), name).tolist() == getattr(whole.counts(), name).tolist()
    assert whole.counts().tp.tolist() == sum(counts.tp for counts in images).tolist()
    assert whole.counts().iou_sum.tolist() == [math.fsum(column) for column in zip(*(c.iou_sum for c in images))]


def test_instances_are_read_in_the_order_of_the_dataset() -> None:
    def image(score: float) -> ImageInstances:
        mask = {"size": [2, 3], "counts": b"06"}
        return ImageInstances((Instance(1, mask, score),), (Instance(0, mask, is_crowd=True),))

    first, second, merged = InstanceRecords(), InstanceRecords(), InstanceRecords()
    first.add(10, image(0.1))
    first.add(2, image(1 / 3))
    second.add(3, image(0.2))
    for records in (second, first):
        add_state({"AP": merged}, state_of({"AP": records}))
    assert merged.images() == [image(1 / 3), image(0.2), image(0.1)]


def test_the_state_of_other_metrics_is_refused() -> None:
    state = state_of({"PQ": PanopticTotals(3)})
    with pytest.raises(ValueError, match=r"PQ:tp has the shape \(3,\) instead of \(4,\)"):
        add_state({"PQ": PanopticTotals(4)}, state)
    with pytest.raises(KeyError, match="mIoU"):
        add_state({"mIoU": PanopticTotals(3)}, state)
