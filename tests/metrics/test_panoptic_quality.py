"""PanopticQuality: cases worked by hand, random maps against slow loops, error messages, two processes."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pq_reference import assert_same_counts, carriers, counts_of, metric_of, slow_counts
from torch import multiprocessing

from opsnet.metrics.panoptic_averages import PanopticCounts, summarise
from opsnet.metrics.panoptic_quality import PanopticQuality
from opsnet.structures import PanopticMap

# Maps as digits, one a pixel, and segments as "id:class", with a c for crowd; then class -> (TP, FP, FN, IoU sum).
HAND = {
    "equal maps": ("112", "1:0 2:2", "449", "4:0 9:2", {0: (1, 0, 0, 1.0), 2: (1, 0, 0, 1.0)}),
    "two thirds match": ("1110", "1:0", "5500", "5:0", {0: (1, 0, 0, 2 / 3)}),
    "one half is no match": ("11", "1:0", "50", "5:0", {0: (0, 1, 1, 0.0)}),
    "another class is no match": ("11", "1:0", "55", "5:1", {0: (0, 0, 1, 0.0), 1: (0, 1, 0, 0.0)}),
    "void leaves the union": ("111000", "1:0", "555555", "5:0", {0: (1, 0, 0, 1.0)}),
    "predicted void stays in the union": ("11111", "1:0", "55500", "5:0", {0: (1, 0, 0, 0.6)}),
    "mostly void is ignored": ("001", "1:0", "555", "5:1", {0: (0, 0, 1, 0.0)}),
    "half void is wrong": ("0011", "1:0", "5555", "5:1", {0: (0, 0, 1, 0.0), 1: (0, 1, 0, 0.0)}),
    "crowd is neither matched nor missed": ("111", "1:0c", "555", "5:0", {}),
    "a crowd nobody predicted": ("111", "1:0c", "000", "", {}),
    "crowd of another class excuses nothing": ("111", "1:0c", "555", "5:1", {1: (0, 1, 0, 0.0)}),
    "crowd and void add up": ("11022", "1:0c 2:1", "55555", "5:0", {1: (0, 0, 1, 0.0)}),
    "crowd stays in the union": ("1112", "1:0 2:0c", "5555", "5:0", {0: (1, 0, 0, 0.75)}),
    "only the last crowd of a class excuses": ("112", "1:0c 2:0c", "555", "5:0", {0: (0, 1, 0, 0.0)}),
    "a prediction of id 0 that is listed counts": ("1100", "1:0", "0000", "0:0", {0: (1, 0, 0, 1.0)}),
    "and is wrong like another": (
        "1122",
        "1:0 2:2",
        "0055",
        "0:1 5:2",
        {0: (0, 0, 1, 0.0), 1: (0, 1, 0, 0.0), 2: (1, 0, 0, 1.0)},
    ),
    "a truth without pixels is missed": ("00", "1:0", "00", "", {0: (0, 0, 1, 0.0)}),
}


def by_hand(name: str):
    """One of ``HAND`` as the arguments of ``metric_of`` and what it should count."""
    truth, truth_segments, prediction, prediction_segments, expected = HAND[name]
    segments = [
        {int(word[0]): (int(word[2]), word.endswith("c")) for word in words.split()}
        for words in (truth_segments, prediction_segments)
    ]
    maps = [[[int(digit) for digit in digits]] for digits in (truth, prediction)]
    return (maps[0], segments[0], maps[1], segments[1]), expected


@pytest.mark.parametrize("name", HAND)
def test_cases_worked_by_hand(name: str) -> None:
    image, expected = by_hand(name)
    assert_same_counts(counts_of(metric_of(image)), expected)
    # The reference that the random tests lean on has to pass them as well.
    assert_same_counts(slow_counts(*image), expected)


def test_averages_leave_out_classes_that_never_occur() -> None:
    # Class 0: one match of IoU 0.8, one miss. Class 1: one false positive. Class 2: never. Class 3 (stuff): IoU 0.6.
    tp, fp, fn = np.array([[1, 0, 0, 1], [0, 1, 0, 0], [1, 0, 0, 0]])
    counts = PanopticCounts(tp, fp, fn, iou_sum=np.array([0.8, 0, 0, 0.6]))
    result = summarise(counts, [True, True, True, False])
    pq = 100 * 0.8 / 1.5
    assert result.as_dict() == pytest.approx(
        {"PQ": (pq + 0 + 60) / 3, "PQth": pq / 2, "PQst": 60, "SQ": (80 + 0 + 60) / 3, "RQ": (100 / 1.5 + 0 + 100) / 3}
    )
    assert (result.all.n, result.things.n, result.stuff.n) == (3, 2, 1)
    assert [quality.occurs for quality in result.per_class] == [True, True, False, True]
    assert result.per_class[0].pq == pytest.approx(pq)
    assert (result.per_class[0].tp, result.per_class[0].fn, result.per_class[1].fp) == (1, 1, 1)


def test_no_class_at_all_averages_to_zero() -> None:
    result = summarise(PanopticCounts.zeros(2), [True, False])
    assert result.as_dict() == dict.fromkeys(("PQ", "PQth", "PQst", "SQ", "RQ"), 0.0)
    assert result.all.n == 0


def test_summarise_names_both_numbers_of_classes() -> None:
    with pytest.raises(ValueError, match="counts of 2 classes need as many is_thing flags, got 3"):
        summarise(PanopticCounts.zeros(2), [True, False, True])


IDS = (1, 2, 3, 7, 300, 65536, 2**24 - 1)


@st.composite
def images(draw):
    """Truth with void, crowd and gaps in its ids; the prediction renames its segments and changes some pixels."""
    height, width = draw(st.integers(1, 4)), draw(st.integers(1, 8))
    segment = st.tuples(st.integers(0, 3), st.sampled_from([False, False, True]))
    truth_segments = draw(st.dictionaries(st.sampled_from(IDS), segment, max_size=5))
    prediction_ids = (0, *draw(st.lists(st.sampled_from(IDS), unique=True, max_size=5)))
    cells = st.lists(st.sampled_from((0, *truth_segments)), min_size=height * width, max_size=height * width)
    truth = draw(cells)
    renamed = {old: draw(st.sampled_from(prediction_ids)) for old in (0, *truth_segments)}
    changes = draw(st.dictionaries(st.integers(0, height * width - 1), st.sampled_from(prediction_ids), max_size=6))
    prediction = [changes.get(i, renamed[t]) for i, t in enumerate(truth)]
    origin = {new: old for old, new in renamed.items()}
    labels = {p: truth_segments[origin[p]][0] if origin.get(p) else draw(st.integers(0, 3)) for p in prediction_ids}
    listed = {p for p in prediction_ids if p in prediction and (p != 0 or draw(st.booleans()))}
    prediction_segments = {p: (labels[p], False) for p in listed}
    shape = (height, width)
    return np.reshape(truth, shape), truth_segments, np.reshape(prediction, shape), prediction_segments


@settings(max_examples=120, deadline=None)
@given(st.lists(images(), min_size=1, max_size=3))
def test_random_maps_equal_the_slow_reference(several) -> None:
    expected: dict[int, tuple] = {}
    for image in several:
        for label, row in slow_counts(*image).items():
            expected[label] = tuple(np.add(row, expected.get(label, (0, 0, 0, 0.0))).tolist())
    assert_same_counts(counts_of(metric_of(*several, classes=5)), expected)


ONE = {1: (0, False)}


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (([[1, 1]], ONE, [[1, 1, 1]], ONE), r"shape \(1, 3\) and the truth's \(1, 2\).*resize"),
        (([[1, 1]], ONE, [[1, 4]], ONE), "prediction's id map holds segment 4 .* list it or set its pixels to 0"),
        (([[1, 8]], ONE, [[1, 1]], ONE), "truth's id map holds segment 8 "),
        (([[1, -1]], ONE, [[1, 1]], ONE), "truth's id map holds segment -1 .* set its pixels to 0"),
        (([[1, 1]], ONE, [[1, 1]], {1: (0, False), 4: (1, False)}), "prediction lists segment 4 but .* no pixel"),
        (([[1, 1]], ONE, [[1, 1]], {1: (3, False)}), r"segment 1 of the prediction has label 3.*3 classes \(0..2\)"),
        (([[1, 1]], {1: (-1, False)}, [[1, 1]], ONE), "segment 1 of the truth has label -1"),
        (([[0, 1]], {0: (0, False), **ONE}, [[1, 1]], ONE), "truth lists a segment with id 0, which stands for void"),
        ((np.zeros((0, 4)), {}, np.zeros((0, 4)), {}), r"shape \(0, 4\)"),
    ],
)
def test_contradictions_are_named_and_leave_the_counts_alone(image, message: str) -> None:
    metric = metric_of()
    with pytest.raises(ValueError, match=message):
        metric.update(*carriers(*image))
    assert counts_of(metric) == {}


def test_an_id_listed_twice_is_an_error() -> None:
    prediction, truth = carriers([[1, 1]], ONE, [[1, 1]], ONE)
    twice = PanopticMap(prediction.ids, prediction.segments * 2)
    with pytest.raises(ValueError, match="the prediction lists segment 1 twice"):
        metric_of().update(twice, truth)


def test_metric_needs_classes() -> None:
    with pytest.raises(ValueError, match="needs one is_thing flag per class"):
        PanopticQuality(is_thing=[])


def test_compute_result_and_reset() -> None:
    image, _ = by_hand("two thirds match")
    metric = metric_of(image, by_hand("equal maps")[0])
    expected = {"PQ": (500 / 6 + 100) / 2, "PQth": 500 / 6, "PQst": 100, "SQ": (500 / 6 + 100) / 2, "RQ": 100}
    assert metric.compute() == pytest.approx(expected)
    assert all(type(value) is float for value in metric.compute().values())
    assert metric.result().per_class[0].tp == 2
    metric.reset()
    metric.update(*carriers(*image))
    assert metric.compute()["PQ"] == pytest.approx(200 / 3)


def test_sum_of_ious_keeps_its_precision_in_a_bfloat16_module() -> None:
    module = torch.nn.ModuleDict({"metric": metric_of()}).to(torch.bfloat16)
    metric = module["metric"]
    assert isinstance(metric, PanopticQuality)
    metric.update(*carriers(*by_hand("two thirds match")[0]))
    assert metric.iou_sum[0].item() == pytest.approx(2 / 3, abs=1e-12)


def random_image(seed: int):
    """A truth of 9 blocks and a prediction that moves them by a pixel and loses some labels."""
    rng = np.random.default_rng(seed)
    truth = np.kron(rng.integers(0, 6, (3, 3)), np.ones((5, 7), np.int64))
    prediction = np.where(rng.random(truth.shape) < 0.2, 0, np.roll(truth, 1, axis=1))
    segments = {int(i): (int(i) % 3, bool(i == 4)) for i in np.unique(truth) if i}
    predicted = {i: (segments[i][0] if i != 2 else 0, False) for i in segments if (prediction == i).any()}
    return truth, segments, prediction, predicted


def score_on_rank(rank: int, folder: str) -> None:
    """One of two processes: takes every second image, writes what it computes."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    metric = metric_of(*(random_image(seed) for seed in range(rank, 5, 2)))
    local = metric.tp.tolist()
    answer = {"local": local, "compute": metric.compute(), "tp": [c.tp for c in metric.result().per_class]}
    assert metric.tp.tolist() == local, "the rank's own counts come back after computing"
    Path(folder, f"{rank}.json").write_text(json.dumps(answer))
    torch.distributed.destroy_process_group()


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="needs fork")
def test_two_processes_compute_what_one_does(tmp_path: Path) -> None:
    # Forked, because a fresh process would first import torchmetrics for many seconds.
    workers = multiprocessing.start_processes(
        score_on_rank, args=(str(tmp_path),), nprocs=2, join=False, start_method="fork"
    )
    deadline = time.monotonic() + 120
    while not workers.join(timeout=5):
        if time.monotonic() > deadline:
            for process in workers.processes:
                process.kill()
            pytest.fail("the two processes did not end")
    whole = metric_of(*(random_image(seed) for seed in range(5)))
    ranks = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1)]
    assert all(sum(rank["local"]) > 0 for rank in ranks)
    for rank in ranks:
        assert rank["compute"] == pytest.approx(whole.compute(), abs=1e-12)
        assert rank["tp"] == whole.tp.tolist()


def test_averages_over_chosen_classes() -> None:
    counts = PanopticCounts(
        np.array([1, 1, 0, 0]), np.array([0, 2, 1, 0]), np.zeros(4, np.int64), np.array([0.8, 1, 0, 0])
    )
    result = summarise(counts, [True, True, False, False])
    every = result.of([True] * 4)
    assert (every.pq, every.sq, every.rq, every.n) == pytest.approx(
        (result.all.pq, result.all.sq, result.all.rq, 3)
    )  # the last class does not occur
    assert result.of([True, True, False, False]).pq == pytest.approx(result.things.pq)
    assert result.of([False, True, False, True]).pq == pytest.approx(50)
    assert result.of([False, False, False, True]).n == 0
    with pytest.raises(ValueError):
        result.of([True])
