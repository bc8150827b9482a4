"""Instances of maps and of proposals, their masks decoded again."""

from __future__ import annotations

import pytest
import torch
from pycocotools import mask as coco_masks

from opsnet.metrics.instances import Instance, instances_from_map, instances_from_proposals
from opsnet.structures import GroundTruth, PanopticMap, Segment


def decoded(instance: Instance) -> list[list[int]]:
    return coco_masks.decode(instance.mask).tolist()


def test_things_of_a_map_with_their_scores() -> None:
    ids = torch.tensor([[0, 4, 4], [2, 4, 9]])
    segments = (Segment(4, 1, True, score=0.75), Segment(2, 0, False, score=0.5), Segment(9, 1, True, score=0.25))
    first, second = instances_from_map(PanopticMap(ids, segments))
    assert (first.label, first.score, first.is_crowd) == (1, 0.75, False)
    assert decoded(first) == [[0, 1, 1], [0, 1, 0]]
    assert decoded(second) == [[0, 0, 0], [0, 0, 1]]
    assert instances_from_map(PanopticMap(ids, segments[1:2])) == ()


def test_crowd_of_a_truth_and_a_thing_without_pixels() -> None:
    truth = GroundTruth(torch.tensor([[3, 0]]), (Segment(3, 0, True, is_crowd=True), Segment(5, 0, True)))
    crowd, absent = instances_from_map(truth)
    assert crowd.is_crowd and not absent.is_crowd
    assert decoded(absent) == [[0, 0]]


PROBABILITIES = torch.tensor([[[0.9, 0.7], [0.2, 0.5]], [[0.1, 0.2], [0.3, 0.6]], [[0.1, 0.1], [0.1, 0.1]]])
CLASSES = torch.tensor([[0.5, 0.1, 0.3], [0.05, 0.8, 0.125], [0.25, 0.0, 0.0]])
IS_THING = (True, False, True)


def test_best_pairs_of_proposals_and_classes() -> None:
    # In order: stuff 0.8 of proposal 1, which takes its place and is left out; things 0.5 and 0.3 of proposal 0.
    found = instances_from_proposals(PROBABILITIES, CLASSES, IS_THING, top=3)
    assert [one.label for one in found] == [0, 2]
    assert [one.score for one in found] == pytest.approx([0.5 * 0.8, 0.3 * 0.8], abs=1e-5)
    assert [decoded(one) for one in found] == [[[1, 1], [0, 0]]] * 2, "one half is outside"


def test_an_empty_mask_scores_nothing_and_no_proposal_answers_nothing() -> None:
    found = instances_from_proposals(PROBABILITIES, CLASSES, IS_THING)
    empty = [one for one in found if one.score == 0]
    assert [decoded(one) for one in empty] == [[[0, 0], [0, 0]]] * 2
    assert len(found) == 6
    assert instances_from_proposals(PROBABILITIES[:0], CLASSES[:0], IS_THING) == ()
    assert instances_from_proposals(PROBABILITIES, CLASSES, (False,) * 3) == ()
