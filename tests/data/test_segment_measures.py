"""Areas and boxes against SciPy's, which go another way."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from opsnet.data.segment_measures import measure


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (7, 5), (40, 60)])
@pytest.mark.parametrize("blocks", [1, 4])
def test_measures_are_those_of_scipy(shape, blocks):
    rng = np.random.default_rng(0)
    small = rng.choice([0, 1, 5, 300, 70000, 256**3 - 1], (-(-shape[0] // blocks), -(-shape[1] // blocks)))
    ids = np.kron(small, np.ones((blocks, blocks), int))[: shape[0], : shape[1]]
    listed = [5, 300, 256**3 - 1, 999]
    measures = measure(ids.astype(np.int32), listed)
    assert measures.areas == {i: (ids == i).sum() for i in listed if (ids == i).any()}
    boxes = {i: ndimage.find_objects((ids == i).astype(int))[0] for i in measures.areas}
    assert measures.boxes == {
        i: (across.start, down.start, across.stop - across.start, down.stop - down.start)
        for i, (down, across) in boxes.items()
    }
    others = np.isin(ids, [1, 70000])
    assert measures.unlisted == tuple(np.unique(ids[others]))
    assert measures.unlisted_area == others.sum()


def test_a_run_ends_with_its_line():
    measures = measure(np.array([[0, 7], [7, 0]], np.int32), [7])
    assert measures.areas == {7: 2}
    assert measures.boxes == {7: (0, 0, 2, 2)}


def test_a_map_of_void_has_nothing():
    measures = measure(np.zeros((3, 4), np.int32), [])
    assert (measures.areas, measures.boxes, measures.unlisted, measures.unlisted_area) == ({}, {}, (), 0)
