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
    listed = np.array(list(labels))
    table = SegmentTable(
        "truth" if name == "gt" else "prediction", listed, np.array(list(labels.values())), np.zeros(len(labels), bool),
        None if areas is None else np.array(areas),
    )  # fmt: skip
    return ImageFiles(7, folder / f"{name}.json", folder / f"{name}.png", table)


def test_counts_and_areas_by_hand(tmp_path: Path) -> None:
    """Class 0: IoU 3/4. Class 1: missed, and predicted where class 0 is."""
    truth = side(tmp_path, "gt", [[70_000, 70_000, 70_000, 70_000], [2, 2, 0, 0]], {70_000: 0, 2: 1}, [4, 3])
    prediction = side(tmp_path, "pred", [[5, 5, 5, 6], [0, 0, 0, 0]], {5: 0, 6: 1}, None)
    counts, wrong_areas = score_pair(truth, prediction, 3)
    assert (counts.tp.tolist(), counts.fp.tolist(), counts.fn.tolist()) == ([1, 0, 0], [0, 1, 0], [0, 1, 0])
    assert counts.iou_sum.tolist() == [0.75, 0, 0]
    assert wrong_areas == [f"segment 2 has area 3 in {tmp_path / 'gt.json'} but 2 pixels in {tmp_path / 'gt.png'}"]


def test_an_error_names_the_image(tmp_path: Path) -> None:
    truth = side(tmp_path, "gt", [[1, 1]], {1: 0}, None)
    prediction = side(tmp_path, "pred", [[1, 2]], {1: 0}, None)
    with pytest.raises(DatasetError, match=r"segment 2 of image 7 is in .*pred\.png but not in .*pred\.json: list it"):
        score_pair(truth, prediction, 1)
