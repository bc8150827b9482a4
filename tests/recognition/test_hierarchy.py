"""Classification down a tree of seven nodes, worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from opsnet.recognition.hierarchy import depths, descend, subtree_best

# 0 thing, 1 stuff, 2 animal, 3 cat, 4 siamese, 5 dog, 6 sky
PARENT = torch.tensor([-1, -1, 0, 2, 3, 2, 1])
NONE = -math.inf


def nodes(animal: float, cat: float, siamese: float, dog: float, sky: float) -> torch.Tensor:
    return torch.tensor([[NONE, NONE, animal, cat, siamese, dog, sky]])


def test_depths() -> None:
    assert depths(PARENT).tolist() == [0, 0, 1, 2, 3, 2, 1]


def test_a_nodes_logit_is_the_best_at_or_below_it() -> None:
    best = subtree_best(nodes(animal=1, cat=2, siamese=5, dog=3, sky=4), PARENT)
    assert best.tolist() == [[5, 4, 5, 5, 5, 3, 4]]


def test_the_path_has_a_probability_per_level() -> None:
    path = descend(nodes(animal=1, cat=2, siamese=5, dog=3, sky=4), PARENT)[0]
    assert [node for node, _ in path] == [0, 2, 3, 4]
    e = math.exp
    expected = [
        e(5) / (e(5) + e(4)),  # thing against stuff
        1.0,  # animal is alone, and "thing" has no text
        e(5) / (e(5) + e(3) + e(1)),  # cat against dog and the name "animal"
        e(5) / (e(5) + e(2)),  # siamese against the name "cat"
    ]
    assert [p for _, p in path] == pytest.approx(expected)


def test_it_stops_at_the_parent_if_no_child_leads_by_the_margin() -> None:
    close = nodes(animal=0, cat=5, siamese=3, dog=4.95, sky=0)
    assert [n for n, _ in descend(close, PARENT, margin=0.1)[0]] == [0, 2]
    assert [n for n, _ in descend(close, PARENT, margin=0.0)[0]] == [0, 2, 3]  # the name "cat" beats "siamese"


def test_it_stops_if_the_nodes_own_name_wins() -> None:
    path = descend(nodes(animal=6, cat=5, siamese=4, dog=3, sky=0), PARENT, margin=0)[0]
    assert [n for n, _ in path] == [0, 2]


def test_the_best_top_level_node_is_always_taken() -> None:
    path = descend(nodes(animal=0, cat=1, siamese=2, dog=0, sky=2.001), PARENT, margin=0.5)[0]
    assert [n for n, _ in path] == [1, 6]


def test_several_segments_and_none() -> None:
    logits = torch.cat((nodes(0, 0, 9, 0, 0), nodes(0, 0, 0, 9, 0), nodes(0, 0, 0, 0, 9)))
    assert [[n for n, _ in path] for path in descend(logits, PARENT)] == [[0, 2, 3, 4], [0, 2, 5], [1, 6]]
    assert descend(logits[:0], PARENT) == []
