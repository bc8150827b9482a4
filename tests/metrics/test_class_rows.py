"""Rows of a csv, read back."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest

from opsnet.metrics.average_precision import ClassPrecision, InstanceResult
from opsnet.metrics.class_rows import class_rows, write_rows
from opsnet.metrics.confusions import ConfusionCounts
from opsnet.metrics.panoptic_averages import PanopticCounts, summarise
from opsnet.metrics.semantic import SemanticCounts, summarise_semantic

NAMES = ("traffic light, red", "sky")
PANOPTIC = summarise(
    PanopticCounts(np.array([1, 0]), np.array([0, 0]), np.array([2, 0]), np.array([0.8, 0.0])), [True, False]
)


def test_all_measures_side_by_side(tmp_path: Path) -> None:
    semantic = summarise_semantic(SemanticCounts(*np.array([[3, 0], [4, 0], [3, 0]])))
    classes = (ClassPrecision(0, 40.0, 100.0, 0.0, 3), ClassPrecision(1, *[math.nan] * 3, instances=0))
    confusions = ConfusionCounts(np.array([[1, 1, 1], [0, 0, 0]]))
    rows = class_rows(NAMES, PANOPTIC, semantic, InstanceResult(40.0, 100.0, 0.0, 1, classes), confusions)
    write_rows(tmp_path / "new" / "classes.csv", rows)
    with (tmp_path / "new" / "classes.csv").open(newline="", encoding="utf-8") as file:
        first, second = csv.DictReader(file)
    assert first == {
        "name": NAMES[0], "kind": "thing", "PQ": "40.0000", "SQ": "80.0000", "RQ": "50.0000",
        "TP": "1", "FP": "0", "FN": "2", "IoU": "75.0000", "Acc": "75.0000",
        "AP": "40.0000", "AP50": "100.0000", "AP75": "0.0000", "misnamed": "1", "unmasked": "1",
    }  # fmt: skip
    assert (second["name"], second["kind"], second["IoU"], second["AP"], second["FN"]) == ("sky", "stuff", "", "", "0")


def test_what_was_made_from_proposals_has_columns_of_its_own() -> None:
    semantic = summarise_semantic(SemanticCounts(*np.array([[3, 0], [4, 0], [3, 0]])))
    worse = summarise_semantic(SemanticCounts(*np.array([[1, 0], [4, 0], [1, 0]])))
    classes = tuple(ClassPrecision(i, 40.0, 50.0, 0.0, 3) for i in range(2))
    instances = InstanceResult(40.0, 50.0, 0.0, 2, classes)
    first = class_rows(NAMES, PANOPTIC, semantic, semantic_proposals=worse, instances_proposals=instances)[0]
    assert (first["IoU"], first["IoU_proposals"], first["Acc_proposals"]) == (75, 25, 25)
    assert (first["AP_proposals"], first["AP50_proposals"], first["AP75_proposals"]) == (40, 50, 0)
    assert "AP" not in first


def test_only_what_is_given() -> None:
    rows = class_rows(NAMES, PANOPTIC)
    assert list(rows[1]) == ["name", "kind", "PQ", "SQ", "RQ", "TP", "FP", "FN"]
    with pytest.raises(ValueError):
        class_rows(NAMES[:1], PANOPTIC)


def test_no_row_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no row to write"):
        write_rows(tmp_path / "classes.csv", [])
