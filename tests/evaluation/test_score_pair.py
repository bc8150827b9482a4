"""score_pair: counts of one image by hand; the files themselves are tested in test_score.py."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from opsnet.data.panoptic_png import write_ids
from opsnet.evaluation.score_pair import ImageFiles, score_pair
from opsnet.metrics.panoptic_arithmetic import SegmentTable
from opsnet.utils.errors import DatasetError


def side(folder: Path, name: str, ids: list[list[int]], labels: dict[int, int], areas: list[int] | None) -> ImageFiles:
    write_ids(folder / f"{name}.png", np.array(ids))
    numbers, classes = np.array(list(labels.items())).T
    table = SegmentTable(
        "truth" if name == "gt" else "prediction", numbers, classes, np.zeros(len(labels), bool),
        None if areas is None else np.array(areas),
    )  # fmt: skip
    return ImageFiles(7, folder / f"{name}.json", folder / f"{name}.png", table)


def test_counts_and_areas_by_hand(tmp_path: Path) -> None:
    """Class 0: IoU 3/4. Class 1: missed, and predicted where class 0 is."""
    truth = side(tmp_path, "gt", [[70_000, 70_000, 70_000, 70_000], [2, 2, 0, 0]], {70_000: 0, 2: 1}, [4, 3])
    prediction = side(tmp_path, "pred", [[5, 5, 5, 6], [0, 0, 0, 0]], {5: 0, 6: 1}, None)
    counts, wrong_areas, boundary = score_pair(truth, prediction, 3)
    assert boundary is None
    assert (counts.tp.tolist(), counts.fp.tolist(), counts.fn.tolist()) == ([1, 0, 0], [0, 1, 0], [0, 1, 0])
    assert counts.iou_sum.tolist() == [0.75, 0, 0]
    assert wrong_areas == [f"segment 2 has area 3 in {tmp_path / 'gt.json'} but 2 pixels in {tmp_path / 'gt.png'}"]


def test_boundary_pq_beside_pq(tmp_path: Path) -> None:
    """A square of 6 x 6 moved by one: IoU 30 / 42 is a match, Boundary IoU 10 / 30 is none."""
    sides = []
    for name, left in (("gt", 2), ("pred", 3)):
        ids = np.full((12, 12), 2)
        ids[3:9, left : left + 6] = 1
        sides.append(side(tmp_path, name, ids.tolist(), {1: 0, 2: 1}, None))
    counts, _, boundary = score_pair(*sides, 2, boundary=True)
    assert (counts.tp.tolist(), boundary.tp.tolist()) == ([1, 1], [0, 1])
    assert (boundary.fp.tolist(), boundary.fn.tolist()) == ([1, 0], [1, 0])
    # Of the stuff's 44 boundary pixels and the 20 around each square, 22 at its sides are of one only.
    assert counts.iou_sum[1] > boundary.iou_sum[1]


def test_an_error_names_the_image(tmp_path: Path) -> None:
    truth = side(tmp_path, "gt", [[1, 1]], {1: 0}, None)
    prediction = side(tmp_path, "pred", [[1, 2]], {1: 0}, None)
    with pytest.raises(DatasetError, match=r"segment 2 of image 7 is in .*pred\.png but not in .*pred\.json: list it"):
        score_pair(truth, prediction, 1)
