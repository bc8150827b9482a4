"""Runs of equal pixels of two maps."""

from __future__ import annotations

import numpy as np
import pytest

from opsnet.metrics.id_runs import runs_of_ids


def test_by_hand() -> None:
    # The last pixel of the first row and the first of the second are one run.
    runs = runs_of_ids(np.array([[1, 1, 7], [7, 7, 7]]), np.array([[2, 2, 2], [2, 3, 3]]))
    assert runs.truth.tolist() == [1, 7, 7]
    assert runs.prediction.tolist() == [2, 2, 3]
    assert runs.lengths.tolist() == [2, 2, 2]


def test_sizes_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \(2, 3\) and the truth's \(3, 2\)"):
        runs_of_ids(np.zeros((3, 2)), np.zeros((2, 3)))
    with pytest.raises(ValueError, match="resize the prediction"):
        runs_of_ids(np.zeros((0, 2)), np.zeros((0, 2)))
