"""Boundaries and Boundary PQ against a plain form by erosion of one mask at a time, and against the published code."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import binary_erosion

from opsnet.metrics.boundary import boundary_overlaps, boundary_width, inner_boundary
from opsnet.metrics.panoptic_arithmetic import SegmentTable, UnlistedSegmentError, count_segments, overlap_table
from opsnet.metrics.panoptic_averages import PanopticCounts, summarise

SAMPLE = Path(__file__).resolve().parents[3] / "shared" / "data" / "panoptic" / "panopticapi_sample"


def eroded_boundary(mask: np.ndarray, width: int) -> np.ndarray:
    """Pixels that ``width`` erosions by 3 x 3 remove; the outside of the image is not the mask."""
    return mask & ~binary_erosion(mask, np.ones((3, 3), bool), iterations=width, border_value=0)


def blobs(rng: np.random.Generator, shape: tuple[int, int], segments: int) -> np.ndarray:
    """Ids 0 to ``segments`` in blocks and stripes, some of one pixel."""
    coarse = rng.integers(0, segments + 1, (shape[0] // 4 + 1, shape[1] // 6 + 1))
    ids = np.kron(coarse, np.ones((4, 6), np.int64))[: shape[0], : shape[1]].copy()
    ids[: shape[0] // 2, shape[1] // 2 :] = segments
    ids[rng.integers(0, shape[0], 5), rng.integers(0, shape[1], 5)] = 1
    return ids


def table(side, ids: np.ndarray, classes: int, crowd: int | None = None) -> SegmentTable:
    present = np.setdiff1d(np.unique(ids), [0])
    return SegmentTable(side, present, present % classes, present == crowd)


@pytest.mark.parametrize("width", [1, 2, 5, 40])
@pytest.mark.parametrize("shape", [(37, 50), (1, 9), (12, 1)])
def test_boundaries_of_all_segments_are_those_of_each(shape: tuple[int, int], width: int) -> None:
    ids = blobs(np.random.default_rng(width), shape, 5)
    found = inner_boundary(ids, width)
    for one in np.unique(ids):
        assert np.array_equal(found & (ids == one), eroded_boundary(ids == one, width))


def test_the_width_is_two_percent_of_the_diagonal() -> None:
    assert [boundary_width(*size) for size in ((480, 640), (3, 4), (1024, 2048))] == [16, 1, 46]
    assert boundary_width(300, 400, 0.005) == 2  # 2.5, rounded to even as by Python


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("ratio", [0.02, 0.06])
def test_boundary_pq_of_each_pair_by_erosion(seed: int, ratio: float) -> None:
    """min(IoU, Boundary IoU) of each pair from masks, without void, and PQ's counts from them."""
    rng, classes = np.random.default_rng(seed), 3
    true = np.kron(rng.integers(0, 7, (7, 12)), np.ones((10, 9), np.int64))
    predicted = np.roll(true, (0, 1), (0, 1))
    predicted[rng.random(true.shape) < 0.001] = 7
    tables = table("truth", true, classes, crowd=6), table("prediction", predicted, classes)
    boundaries = boundary_overlaps(true, predicted, *tables, ratio)
    width = boundary_width(*true.shape, ratio)
    ious = np.zeros((len(tables[0].ids), len(tables[1].ids)))
    for row, t in enumerate(tables[0].ids):
        for column, p in enumerate(tables[1].ids):
            masks = true == t, predicted == p
            of_masks, of_boundaries = (
                (a & b).sum() / (a | (b & (true != 0))).sum()
                for a, b in (masks, [eroded_boundary(mask, width) for mask in masks])
            )
            assert boundaries.ious()[row, column] == pytest.approx(of_boundaries, abs=1e-12)
            ious[row, column] = min(of_masks, of_boundaries)
    counts = count_segments(overlap_table(true, predicted, *tables), *tables, classes, boundaries.ious())
    match = (ious > 0.5) & (tables[0].labels[:, None] == tables[1].labels) & ~tables[0].is_crowd[:, None]
    assert counts.tp.sum() == match.sum() > 0
    assert counts.iou_sum.sum() == pytest.approx(ious[match].sum(), abs=1e-9)
    assert counts.fn.sum() == (~tables[0].is_crowd).sum() - match.any(1).sum()


def test_a_segment_of_the_same_area_at_another_boundary_is_a_miss() -> None:
    """IoU 0.64 is a match of PQ; no pixel of the boundaries, one pixel wide, is shared."""
    true, predicted = np.zeros((2, 12, 12), np.int64)
    true[1:11, 1:11], predicted[2:10, 2:10] = 1, 1
    true[true == 0], predicted[predicted == 0] = 2, 2
    tables = [
        SegmentTable(side, np.array([1, 2]), np.array([0, 1]), np.zeros(2, bool)) for side in ("truth", "prediction")
    ]
    pixels = overlap_table(true, predicted, *tables)
    limit = boundary_overlaps(true, predicted, *tables).ious()
    assert limit[0, 0] == 0
    assert count_segments(pixels, *tables, 2).tp[0] == 1
    assert count_segments(pixels, *tables, 2, limit).tp[0] == 0


def test_an_unlisted_id_is_named() -> None:
    ids = np.ones((4, 4), np.int64)
    empty = SegmentTable("truth", *np.zeros((2, 0), np.int64), np.zeros(0, bool))
    with pytest.raises(UnlistedSegmentError, match="holds segment 1 but"):
        boundary_overlaps(ids, ids, empty, table("prediction", ids, 2))


# What boundary_iou_api (github.com/bowenc0221/boundary-iou-api, 8006aa9) gives for the sample of panopticapi, predicted
# as the same map moved by (rows, columns) around the edges: (move, dilation ratio) -> PQ, SQ, RQ over 8 classes.
PUBLISHED = {
    ((1, 0), 0.02): (91.95718389737301, 91.95718389737301, 100.0),
    ((1, 0), 0.005): (81.12090402162868, 81.12090402162868, 100.0),
    ((2, 3), 0.02): (69.56249699090682, 71.40476674908524, 97.42132867132867),
    ((2, 3), 0.005): (0.5138203757654972, 6.679664884951464, 0.9615384615384616),
    ((4, -6), 0.02): (45.46096730585101, 51.77696943203131, 76.33333333333333),
}


@pytest.mark.skipif(not SAMPLE.is_dir(), reason=f"the sample of panopticapi is not in {SAMPLE}")
@pytest.mark.parametrize(("move", "ratio"), PUBLISHED)
def test_published_code_gives_the_same(move: tuple[int, int], ratio: float) -> None:
    content = json.loads((SAMPLE / "panoptic_examples.json").read_text())
    labels = {category["id"]: k for k, category in enumerate(content["categories"])}
    counts = PanopticCounts.zeros(len(labels))
    for annotation in content["annotations"]:
        pixels = np.array(Image.open(SAMPLE / "panoptic_examples" / annotation["file_name"]).convert("RGB"), np.int64)
        true = pixels @ [1, 256, 65536]
        rows = [(s["id"], labels[s["category_id"]], s["iscrowd"], s["area"]) for s in annotation["segments_info"]]
        ids, classes, crowd, areas = np.array(rows).T
        predicted = np.roll(true, move, (0, 1))
        tables = (
            SegmentTable("truth", ids, classes, crowd == 1, areas),
            SegmentTable("prediction", ids, classes, np.zeros(len(ids), bool)),
        )
        limit = boundary_overlaps(true, predicted, *tables, ratio).ious()
        counts += count_segments(overlap_table(true, predicted, *tables), *tables, len(labels), limit)
    found = summarise(counts, [True] * len(labels)).all
    assert (found.pq, found.sq, found.rq) == pytest.approx(PUBLISHED[move, ratio], abs=1e-9)
    assert found.n == 8
