"""Masks as arrays, run lengths and polygons: equal to COCO's own reading, or refused before anything is decoded."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pycocotools import mask as coco

from opsnet.prediction.mask_records import MaskError, checked_score, mask_of, record_id, record_score

SIZE = (37, 53)


@pytest.fixture
def mask() -> np.ndarray:
    generator = np.random.default_rng(0)
    coarse = generator.random((9, 13)) > 0.5
    return np.kron(coarse, np.ones((5, 5), bool))[: SIZE[0], : SIZE[1]]


def encoded(mask: np.ndarray) -> dict:
    return coco.encode(np.asfortranarray(mask.astype(np.uint8)))


@pytest.mark.parametrize("density", [0.0, 0.02, 0.5, 1.0])
def test_run_lengths_as_text_are_cocos(density: float) -> None:
    mask = np.random.default_rng(1).random(SIZE) < density
    runs = encoded(mask)
    assert np.array_equal(mask_of({**runs, "counts": runs["counts"].decode()}, SIZE), mask)
    assert np.array_equal(mask_of(runs, SIZE), mask)  # bytes, as in memory


def test_run_lengths_as_numbers(mask: np.ndarray) -> None:
    columns = np.concatenate(([False], mask.T.flatten()))
    changes = np.flatnonzero(np.diff(columns))
    counts = np.diff([0, *changes.tolist(), mask.size]).tolist()
    assert np.array_equal(mask_of({"size": list(SIZE), "counts": counts}, SIZE), mask)


@pytest.mark.parametrize("form", [np.asarray, torch.from_numpy, lambda m: m.astype(float), lambda m: m.tolist()])
def test_arrays(form, mask: np.ndarray) -> None:
    assert np.array_equal(mask_of(form(mask), SIZE), mask)
    assert np.array_equal(mask_of(mask.astype(int).tolist(), SIZE), mask)


@pytest.mark.parametrize(
    "polygons",
    [[[3.0, 4.5, 40.2, 6.1, 30, 30]], [[0, 0, 10, 0, 10, 10], [20, 20, 30, 20, 25, 31.5]], [[-20, -9, 90, 5, 20, 80]]],
)
def test_polygons_are_cocos(polygons) -> None:
    """Also where they leave the image."""
    expected = coco.decode(coco.merge(coco.frPyObjects(polygons, *SIZE))).astype(bool)
    assert expected.any()
    assert np.array_equal(mask_of(polygons, SIZE), expected)
    if len(polygons) == 1:
        assert np.array_equal(mask_of(polygons[0], SIZE), expected)


RUNS = {"size": list(SIZE), "counts": [SIZE[0] * SIZE[1]]}


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        (np.ones((10, 20), bool), r"is 20 x 10 pixels, but the image is 53 x 37 \(width x height\)"),
        ({**RUNS, "size": [10**9, 10**9]}, "is 1000000000 x 1000000000 pixels, but the image is 53 x 37"),
        ({**RUNS, "size": None}, "run lengths without `size`"),
        ({**RUNS, "counts": [5, 5]}, "run lengths of 10 pixels in all, but the image has 1961"),
        ({**RUNS, "counts": [10**30]}, "neither COCO's text nor a list of whole numbers"),
        ({**RUNS, "counts": [-5, 1966]}, "neither COCO's text nor a list of whole numbers"),
        ({**RUNS, "counts": [1960.5]}, "neither COCO's text nor a list of whole numbers"),
        ({**RUNS, "counts": None}, "neither COCO's text nor a list of whole numbers"),
        ({**RUNS, "counts": "\x00\x00"}, "no text of COCO's"),
        ({**RUNS, "counts": "o" * 100}, "no text of COCO's"),
        ({**RUNS, "counts": "o"}, "break off"),
        ({**RUNS, "counts": "héllo"}, "no text of COCO's"),
        ([[0, 0, 9, 0, 2.0**53, 9]], "outline of 1.8e.16 pixels: correct the coordinates"),
        ([[0, 0, 9, 0, float("nan"), 9]], "outline of nan pixels"),
        ([[0, 0, 9, 0, float("inf"), 9]], "outline of (inf|nan) pixels"),
        ([[0, 0, 9, 9]], "polygon that cannot be drawn"),
        ([[0, 0, 9, 9, 3]], "not lists of x, y"),
        (["a"], "not lists of x, y"),
        ([[2, None, 3, 4, 5, 6]], "outline of nan pixels"),
        ([], "cannot be drawn"),
        (None, "has no segmentation"),
        (5, "of shape"),
        ("text", "not of numbers"),
        (np.full(SIZE, 0.5), "values besides 0 and 1"),
        ([[True] * 5] * 4, "is 5 x 4 pixels"),
        ([[True] * 5, [True] * 4], "is no array"),
    ],
)
def test_invalid_masks(segmentation, message: str) -> None:
    with pytest.raises(MaskError, match=message):
        mask_of(segmentation, SIZE)


def test_scores_and_ids() -> None:
    assert record_score({}) == 1
    assert record_score({"predicted_iou": 1.02, "score": 0.3}) == 1  # SAM's may be above 1
    assert record_score({"score": 0.3}) == 0.3
    for wrong in (-0.1, 80, float("nan"), "x", [1], 10**400):
        with pytest.raises(MaskError, match=r"give a number in 0\.\.1"):
            checked_score(wrong)
    assert (record_id({}), record_id({"id": 7}), record_id({"id": np.int64(7)}), record_id({"id": "a"})) == (
        None,
        7,
        7,
        "a",
    )
    with pytest.raises(MaskError, match=r"has the id 1\.5"):
        record_id({"id": 1.5})
