"""Runs of equal pixels: those of ids and of colours are the same, and count every pixel once."""

from __future__ import annotations

import numpy as np
import pytest

from opsnet.data.panoptic_png import ids_to_rgb
from opsnet.metrics.id_runs import runs_of_colours, runs_of_ids


def test_by_hand() -> None:
    # The last pixel of the first row and the first of the second are one run.
    runs = runs_of_ids(np.array([[1, 1, 7], [7, 7, 7]]), np.array([[2, 2, 2], [2, 3, 3]]))
    assert runs.truth.tolist() == [1, 7, 7]
    assert runs.prediction.tolist() == [2, 2, 3]
    assert runs.lengths.tolist() == [2, 2, 2]


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (9, 1), (40, 33)])
@pytest.mark.parametrize("largest", [1, 2, 300, 256**3 - 1])
def test_colours_have_the_runs_of_their_ids(size, largest) -> None:
    rng = np.random.default_rng(largest)
    for repeats in (1, 5):
        maps = [np.sort(rng.integers(0, largest + 1, size), axis=1).repeat(repeats, axis=1) for _ in range(2)]
        runs, expected = runs_of_colours(*map(ids_to_rgb, maps)), runs_of_ids(*maps)
        for one, other in zip(runs, expected, strict=True):
            assert one.tolist() == other.tolist()
        assert runs.lengths.sum() == maps[0].size


@pytest.mark.parametrize("byte", range(3))
def test_a_change_of_one_byte_begins_a_run(byte) -> None:
    maps = np.zeros((2, 1, 4, 3), np.uint8)
    maps[1, 0, 2:, byte] = 1
    runs = runs_of_colours(*maps)
    assert runs.lengths.tolist() == [2, 2]
    assert runs.prediction.tolist() == [0, 256**byte]


def test_colours_of_an_image_with_alpha() -> None:
    pixels = np.random.default_rng(0).integers(0, 2, (5, 6, 4), np.uint8)
    views = pixels[..., :3], pixels[::-1, :, :3]  # not contiguous
    for one, other in zip(runs_of_colours(*views), runs_of_colours(*map(np.ascontiguousarray, views)), strict=True):
        assert one.tolist() == other.tolist()


def test_sizes_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \(2, 3\) and the truth's \(3, 2\)"):
        runs_of_ids(np.zeros((3, 2)), np.zeros((2, 3)))
    with pytest.raises(ValueError, match="resize the prediction"):
        runs_of_ids(np.zeros((0, 2)), np.zeros((0, 2)))
