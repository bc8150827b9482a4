"""Overlaps of one image, on maps that can be counted by eye."""

from __future__ import annotations

import numpy as np
import pytest
from pq_reference import carriers

from opsnet.metrics.image_overlaps import image_overlaps

# Six pixels: void, three of segment 7 (class 1), two of the crowd 9 (class 0).
TRUTH, TRUE_SEGMENTS = [[0, 7, 7, 7, 9, 9]], {7: (1, False), 9: (0, True)}
PREDICTION, PREDICTED_SEGMENTS = [[2, 2, 2, 0, 3, 3]], {2: (0, False), 3: (1, False)}


def test_pixels_and_tables() -> None:
    overlaps = image_overlaps(*carriers(TRUTH, TRUE_SEGMENTS, PREDICTION, PREDICTED_SEGMENTS), num_classes=2)
    assert overlaps.pixels.tolist() == [[0, 1, 0], [1, 2, 0], [0, 0, 2]]
    assert (overlaps.truth.labels.tolist(), overlaps.truth.is_crowd.tolist()) == ([1, 0], [False, True])
    assert overlaps.prediction.labels.tolist() == [0, 1]
    # Segment 2 has 2 pixels outside void and shares both with segment 7, which has 3.
    assert overlaps.ious() == pytest.approx(np.array([[2 / 3, 0], [0, 1]]))


def test_a_segment_without_pixels_and_an_empty_side() -> None:
    overlaps = image_overlaps(*carriers([[0, 0]], {5: (0, False)}, [[1, 1]], {1: (0, False)}), num_classes=1)
    assert overlaps.ious().tolist() == [[0]]
    assert image_overlaps(*carriers([[0]], {}, [[0]], {}), num_classes=1).ious().shape == (0, 0)


@pytest.mark.parametrize(("label", "side"), [(2, "truth"), (-1, "prediction")])
def test_a_label_outside_the_classes_is_named(label: int, side: str) -> None:
    segments = [{1: (label, False)}, {1: (0, False)}]
    true, predicted = segments if side == "truth" else segments[::-1]
    with pytest.raises(ValueError, match=f"segment 1 of the {side} has label {label}, but there are 2 classes"):
        image_overlaps(*carriers([[1]], true, [[1]], predicted), num_classes=2)
