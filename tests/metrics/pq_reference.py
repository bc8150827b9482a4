"""panopticapi's algorithm, one pixel and one segment at a time, and short ways to call the metric. No tests in here."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch

from opsnet.metrics.panoptic_quality import PanopticQuality
from opsnet.structures import GroundTruth, PanopticMap, Segment

# A segment in these tests: id -> (label, is_crowd).
Segments = dict[int, tuple[int, bool]]


def carriers(truth, truth_segments: Segments, prediction, prediction_segments: Segments):
    """The arguments of ``update``."""
    as_tuple = [
        tuple(Segment(id=i, label=label, is_thing=True, is_crowd=crowd) for i, (label, crowd) in segments.items())
        for segments in (prediction_segments, truth_segments)
    ]
    ids = [torch.as_tensor(np.asarray(m, dtype=np.int64)) for m in (prediction, truth)]
    return PanopticMap(ids[0], as_tuple[0]), GroundTruth(ids[1], as_tuple[1])


def metric_of(*images, classes: int = 3) -> PanopticQuality:
    metric = PanopticQuality(is_thing=[True] * (classes - 1) + [False])
    for image in images:
        metric.update(*carriers(*image))
    return metric


def counts_of(metric: PanopticQuality) -> dict[int, tuple[int, int, int, float]]:
    """Classes with anything to count -> (tp, fp, fn, IoU sum)."""
    rows = zip(metric.tp.tolist(), metric.fp.tolist(), metric.fn.tolist(), metric.iou_sum.tolist())
    return {label: row for label, row in enumerate(rows) if any(row)}


def slow_counts(truth, truth_segments: Segments, prediction, prediction_segments: Segments):
    """panopticapi's steps, one pixel and one segment at a time."""
    tally: dict[int, list] = {}
    pairs = Counter(zip(np.asarray(truth).ravel().tolist(), np.asarray(prediction).ravel().tolist()))
    truth_area, prediction_area = Counter(), Counter()
    for (t, p), pixels in pairs.items():
        truth_area[t] += pixels
        prediction_area[p] += pixels
    found, used = set(), set()
    for (t, p), pixels in pairs.items():
        if (
            t == 0
            or p not in prediction_segments
            or truth_segments[t][1]
            or truth_segments[t][0] != prediction_segments[p][0]
        ):
            continue
        iou = pixels / (truth_area[t] + prediction_area[p] - pixels - pairs[(0, p)])
        if iou > 0.5:
            row = tally.setdefault(truth_segments[t][0], [0, 0, 0, 0.0])
            row[0] += 1
            row[3] += iou
            found.add(t)
            used.add(p)
    crowd = {}
    for t, (label, is_crowd) in truth_segments.items():
        if is_crowd:
            crowd[label] = t
        elif t not in found:
            tally.setdefault(label, [0, 0, 0, 0.0])[2] += 1
    for p, (label, _) in prediction_segments.items():
        ignored = pairs[(0, p)] + (pairs[(crowd[label], p)] if label in crowd else 0)
        if p not in used and ignored / prediction_area[p] <= 0.5:
            tally.setdefault(label, [0, 0, 0, 0.0])[1] += 1
    return {label: tuple(row) for label, row in tally.items()}


def assert_same_counts(got, expected) -> None:
    assert {label: row[:3] for label, row in got.items()} == {label: row[:3] for label, row in expected.items()}
    for label, row in expected.items():
        assert got[label][3] == pytest.approx(row[3], rel=0, abs=1e-9)
