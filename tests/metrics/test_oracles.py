"""Oracles on rows of pixels, and PQ of 100 with true masks and names."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from opsnet.metrics.oracles import ORACLES, NamedMasks, oracle_filter, oracle_masks, oracle_names
from opsnet.metrics.panoptic_averages import PanopticCounts, summarise
from opsnet.metrics.panoptic_quality import count_image
from opsnet.panoptic.merge import merge_panoptic
from opsnet.structures import GroundTruth, Segment

# Classes: 0 and 1 are things, 2 is stuff. Void, thing 5 (class 0), stuff 6, crowd 7 (class 1).
IDS = "0555566667777"
SEGMENTS = (Segment(5, 0, True), Segment(6, 2, False), Segment(7, 1, True, is_crowd=True))
TRUTH = GroundTruth(torch.tensor([[int(digit) for digit in IDS]]), SEGMENTS)


def named(rows: list[str], labels: list[int]) -> NamedMasks:
    """Masks as rows of dots and crosses, all kept with a score of 0.25."""
    masks = torch.tensor([[[0.9 if pixel == "x" else 0.1 for pixel in row]] for row in rows]).reshape(-1, 1, len(IDS))
    every = torch.ones(len(rows), dtype=torch.bool)
    return NamedMasks(masks, torch.full((len(rows),), 0.25), torch.tensor(labels, dtype=torch.int64), every)


ROWS = [
    "xxxx.........",  # 3 of thing 5's 4 pixels and one of void: IoU 3/4
    "...xxx.......",  # 2 of thing 5, IoU 2/5; 1 of stuff 6, IoU 1/6
    ".....xx......",  # half of stuff 6, wholly inside
    "......xxxxx..",  # 3 of stuff 6, IoU 1/2; 2 of the crowd, a share of 2/5
    "........xxx..",  # 1 of stuff 6; 2 of the crowd, a share of 2/3
    "x............",  # void alone
]


def test_names_are_those_of_the_best_overlap() -> None:
    masks = named(ROWS, [1, 1, 1, 1, 0, 1])
    changed = oracle_names(masks, TRUTH)
    assert changed.labels.tolist() == [0, 0, 2, 2, 1, 1]
    assert changed.scores is masks.scores and changed.keep is masks.keep
    assert oracle_names(masks, GroundTruth(torch.zeros_like(TRUTH.ids), ())).labels.tolist() == masks.labels.tolist()


def test_the_filter_scores_the_true_iou_with_the_own_label() -> None:
    changed = oracle_filter(named(ROWS, [0, 0, 2, 2, 1, 1]), TRUTH)
    assert changed.scores.tolist() == pytest.approx([3 / 4, 2 / 5, 1 / 2, 1 / 2, 0, 0])
    # A part of a thing is dropped; parts of stuff stay.
    assert changed.keep.tolist() == [True, False, True, True, False, False]
    wrong = oracle_filter(named(ROWS, [1, 1, 0, 1, 0, 0]), TRUTH)
    assert not wrong.keep.any() and not wrong.scores.any()


def test_true_masks_with_the_names_of_the_nearest_proposals() -> None:
    changed = oracle_masks(named(ROWS[:3], [1, 0, 2]), TRUTH)
    inside = ["".join("x" if pixel else "." for pixel in mask[0].tolist()) for mask in changed.probabilities]
    assert inside == [".xxxx........", ".....xxxx...."]
    assert (changed.labels.tolist(), changed.keep.tolist()) == ([1, 2], [True, True])
    assert changed.scores.tolist() == [0.25, 0.25]


def test_no_proposal() -> None:
    nothing = named([], [])
    assert len(oracle_names(nothing, TRUTH).labels) == len(oracle_filter(nothing, TRUTH).keep) == 0
    with pytest.raises(ValueError, match="at least one proposal"):
        oracle_masks(nothing, TRUTH)


@pytest.mark.parametrize("oracle", [oracle_names, oracle_filter, oracle_masks])
def test_an_id_without_a_segment_is_named(oracle) -> None:
    with pytest.raises(ValueError, match="truth's id map holds segment 5"):
        oracle(named(ROWS, [0] * 6), GroundTruth(TRUTH.ids, SEGMENTS[1:]))


IS_THING = (True, True, True, False, False)


def random_image(seed: int) -> tuple[NamedMasks, GroundTruth]:
    """Blocks with gaps in their ids: void, things, stuff, a crowd. Proposals are noisy, half of them badly named."""
    rng = np.random.default_rng(seed)
    ids = np.kron(rng.choice([0, 3, 4, 70, 800, 9000, 10], (5, 5)), np.ones((4, 4), np.int64))
    label_of = {3: 0, 4: 0, 70: 1, 800: 3, 9000: 4, 10: int(rng.integers(3))}
    present = [i for i in label_of if (ids == i).any()]
    segments = tuple(Segment(i, label_of[i], IS_THING[label_of[i]], is_crowd=i == 10) for i in present)
    masks = [np.where(rng.random(ids.shape) < 0.2, rng.random(), ids == i) for i in (*present, *present)]
    labels = [label_of[i] if rng.random() < 0.5 else int(rng.integers(5)) for i in (*present, *present)]
    # A score of 0 has to survive, too.
    scores = torch.from_numpy(rng.random(len(labels)).round(1)).float()
    inputs = NamedMasks(torch.from_numpy(np.stack(masks)).float(), scores, torch.tensor(labels), scores > 0.3)
    return inputs, GroundTruth(torch.from_numpy(ids), segments)


def counts_of(masks: NamedMasks, truth: GroundTruth) -> PanopticCounts:
    merged = merge_panoptic(masks.probabilities, masks.scores, masks.labels, masks.keep, IS_THING)
    return count_image(merged, truth, len(IS_THING))


def quality(name: str | None, dtype: torch.dtype = torch.float32) -> float:
    total = PanopticCounts.zeros(len(IS_THING))
    for seed in range(8):
        masks, truth = random_image(seed)
        masks = NamedMasks(masks.probabilities.to(dtype), masks.scores.to(dtype), masks.labels, masks.keep)
        total += counts_of(ORACLES[name](masks, truth) if name else masks, truth)
    return summarise(total, IS_THING).all.pq


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_true_masks_and_names_are_exactly_100(dtype: torch.dtype) -> None:
    assert quality("masks + names", dtype) == 100


def test_each_oracle_helps_and_none_but_the_last_is_perfect() -> None:
    plain = quality(None)
    for name in ("names", "filter", "masks"):
        assert plain < quality(name) < 100, name
    assert quality("names + filter") > max(quality("names"), quality("filter"))


def test_masks_exactly_true_stay_as_they_are() -> None:
    masks, truth = random_image(0)
    exact: Tensor = oracle_masks(masks, truth).probabilities
    again = oracle_masks(NamedMasks(exact, *oracle_labels(exact, truth)), truth)
    assert torch.equal(again.probabilities, exact)
    filtered = oracle_filter(again, truth)
    assert filtered.keep.all() and (filtered.scores == 1).all()


def oracle_labels(masks: Tensor, truth: GroundTruth) -> tuple[Tensor, Tensor, Tensor]:
    """Scores, true labels and keep of true masks."""
    labels = [s.label for s in truth.segments if not s.is_crowd]
    return torch.ones(len(masks)), torch.tensor(labels), torch.ones(len(masks), dtype=torch.bool)
