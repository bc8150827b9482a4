"""Right mask, wrong name: counted by hand, and beside PQ's counts on random maps."""

from __future__ import annotations

import numpy as np
import pytest
from pq_reference import carriers

from opsnet.metrics.confusions import NO_MASK, Confusion, ConfusionCounts, count_confusions, most_common
from opsnet.metrics.image_overlaps import image_overlaps
from opsnet.metrics.panoptic_arithmetic import count_segments

NAMES = ("cat", "dog", "sky")


def counts_of(*image) -> ConfusionCounts:
    return count_confusions(image_overlaps(*carriers(*image), num_classes=len(NAMES)))


def test_case_worked_by_hand() -> None:
    truth = [[1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 0]]
    true = {1: (0, False), 2: (0, False), 3: (0, False), 4: (1, False), 5: (1, True)}
    # Cat found; cat called dog; half a cat; dog called sky, with void besides; a crowd called sky.
    prediction = [[1, 1, 2, 2, 0, 3, 4, 4, 6, 6, 4]]
    predicted = {1: (0, False), 2: (1, False), 3: (0, False), 4: (2, False), 6: (2, False)}
    counts = counts_of(truth, true, prediction, predicted)
    assert counts.segments.tolist() == [[1, 1, 0, 1], [0, 0, 1, 0], [0, 0, 0, 0]]
    assert (counts.misnamed.tolist(), counts.unmasked.tolist()) == ([1, 1, 0], [1, 0, 0])
    twice = ConfusionCounts.zeros(len(NAMES))
    for other in (counts, counts, counts_of([[1]], {1: (1, False)}, [[0]], {})):
        twice.add(other)
    assert most_common(twice, NAMES) == [
        Confusion("cat", "dog", 2, 2 / 6),
        Confusion("cat", NO_MASK, 2, 2 / 6),
        Confusion("dog", "sky", 2, 2 / 3),
        Confusion("dog", NO_MASK, 1, 1 / 3),
    ]
    assert most_common(twice, NAMES, top=1) == [Confusion("cat", "dog", 2, 2 / 6)]


def test_nothing_predicted_nothing_true() -> None:
    assert counts_of([[1]], {1: (2, False)}, [[0]], {}).unmasked.tolist() == [0, 0, 1]
    assert most_common(counts_of([[0]], {}, [[1]], {1: (0, False)}), NAMES) == []
    with pytest.raises(ValueError, match="counts of 3 classes need as many names, got 2"):
        most_common(ConfusionCounts.zeros(3), NAMES[:2])


@pytest.mark.parametrize("seed", range(5))
def test_found_and_missed_are_those_of_pq(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = np.kron(rng.integers(0, 8, (4, 4)), np.ones((3, 3), np.int64))
    prediction = np.where(rng.random(truth.shape) < 0.3, 0, np.roll(truth, seed % 2, axis=1))
    true = {int(i): (int(rng.integers(3)), bool(i == 7)) for i in np.unique(truth) if i}
    predicted = {
        int(i): (true[i][0] if rng.random() < 0.6 else int(rng.integers(3)), False) for i in np.unique(prediction) if i
    }
    overlaps = image_overlaps(*carriers(truth, true, prediction, predicted), num_classes=3)
    pq, counts = count_segments(overlaps.pixels, overlaps.truth, overlaps.prediction, 3), count_confusions(overlaps)
    assert np.diagonal(counts.segments).tolist() == pq.tp.tolist()
    assert (counts.misnamed + counts.unmasked).tolist() == pq.fn.tolist()
