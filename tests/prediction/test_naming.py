"""From logits to labelled segments: names, scores and boxes computed by hand."""

from __future__ import annotations

import math

import pytest
import torch

from opsnet.panoptic.mask_filtering import MaskFiltering
from opsnet.prediction.naming import UnknownRule, boxes_of, label_segments
from opsnet.utils.errors import InputError
from opsnet.vocabulary import Concept, Vocabulary
from opsnet.vocabulary.name_tree import NameTree

VOCABULARY = Vocabulary("v", (Concept(7, "cat", True, ("kitty",)), Concept(3, "sky", False), Concept(9, "dog", True)))
NO_OBJECT = torch.tensor([[-50.0, -50.0, 6.0]])
LOGITS = torch.tensor([[[4.0, 1.0, 3.0], [2.0, 2.05, 2.0], [0.0, 0.0, 1.0]]])


def named(proposed, *, logits=LOGITS, words=VOCABULARY, threshold=0.05, iou=(0.9, 0.8, 0.7), **more):
    filtering = MaskFiltering(kind="cls_iou", threshold=threshold)
    return label_segments(proposed(*iou), logits, NO_OBJECT, words, filtering=filtering, overlap=0.8, **more)[0]


def test_names_scores_boxes_and_the_best_names(proposed) -> None:
    answer = named(proposed, top_k=2)
    cat, sky = answer.segments
    assert (cat.name, cat.is_thing, cat.box, cat.area) == ("cat", True, (0, 0, 32, 64), 32 * 64)
    assert (sky.name, sky.is_thing, sky.box, sky.area) == ("sky", False, (32, 0, 16, 64), 16 * 64)
    total = math.exp(4) + math.exp(1) + math.exp(3)
    assert [(n.name, n.id, n.synonyms) for n in cat.top] == [("cat", 7, ("kitty",)), ("dog", 9, ())]
    assert [n.score for n in cat.top] == pytest.approx([math.exp(4) / total, math.exp(3) / total])
    assert cat.score == pytest.approx(0.9 * math.exp(4) / total)
    assert cat.iou == pytest.approx(0.9)
    assert not answer.ids[:, 48:].any()  # claimed by no-object
    assert answer.vocabulary is VOCABULARY


def test_a_segments_proposal_counts_those_that_were_dropped(proposed) -> None:
    answer = named(proposed, iou=(0.01, 0.8, 0.7))  # the first is below the threshold
    assert [(s.name, s.proposal) for s in answer.segments] == [("sky", 1)]
    assert [s.proposal for s in named(proposed).segments] == [0, 1]


def test_top_k_above_the_number_of_names(proposed) -> None:
    assert [n.name for n in named(proposed, top_k=9).segments[0].top] == ["cat", "dog", "sky"]


def test_good_masks_without_a_confident_name_are_unknown(proposed) -> None:
    answer = named(proposed, unknown=UnknownRule(margin=0.1), top_k=2)
    cat, first, second = answer.segments
    assert [s.name for s in answer.segments] == ["cat", "unknown", "unknown"]
    assert first.is_thing and second.is_thing
    assert [n.name for n in first.top] == ["sky", "cat"]
    assert second.top[0].name == "dog"
    assert answer.vocabulary.names[-1] == "unknown"
    assert answer.vocabulary.ids[-1] == 10
    assert cat == named(proposed, top_k=2).segments[0]


def test_poor_masks_are_not_unknown(proposed) -> None:
    rule = UnknownRule(margin=0.1, iou=0.75)
    assert [s.name for s in named(proposed, unknown=rule).segments] == ["cat", "unknown"]


def test_stuff_of_several_proposals_has_the_best_ones_names(proposed) -> None:
    logits = torch.tensor([[[0.0, 1.0, -1.0], [0.0, 4.0, 2.0], [9.0, 0.0, 0.0]]])
    sky = named(proposed, logits=logits, top_k=2).segments[0]
    assert (sky.name, sky.area, sky.box) == ("sky", 48 * 64, (0, 0, 48, 64))
    assert [n.name for n in sky.top] == ["sky", "dog"]  # the second proposal's: the first has the cat next


def test_no_segments(proposed) -> None:
    answer = named(proposed, threshold=1, top_k=2)
    assert answer.segments == ()
    assert not answer.ids.any()


@pytest.fixture
def tree() -> NameTree:
    concepts = [("thing", True), ("animal", True), ("cat", True), ("dog", True), ("stuff", False), ("sky", False)]
    vocabulary = Vocabulary("t", tuple(Concept(i, n, t) for i, (n, t) in enumerate(concepts, start=1)))
    return NameTree(vocabulary, (-1, 0, 1, 1, -1, 4))


def test_labels_from_a_tree(proposed, tree) -> None:
    # words: animal, cat, dog, sky
    logits = torch.tensor([[[1.0, 5.0, 2.0, 0.0], [0.0, 4.0, 4.01, 0.0], [0.0, 0.0, 0.0, 9.0]]])
    answer = named(proposed, logits=logits, words=tree, top_k=2)
    assert [s.name for s in answer.segments] == ["cat", "animal", "sky"]
    assert [[n.name for n in s.path] for s in answer.segments] == [
        ["thing", "animal", "cat"],
        ["thing", "animal"],  # cat and dog are too near to one another
        ["stuff", "sky"],
    ]
    assert [s.is_thing for s in answer.segments] == [True, True, False]
    cat = answer.segments[0]
    assert cat.path[0].score == pytest.approx(math.exp(5) / (math.exp(5) + 1))
    assert cat.score == pytest.approx(0.9 * cat.path[0].score)  # ranked by the top level
    assert {n.name for s in answer.segments for n in s.top} <= {"animal", "cat", "dog", "sky"}


def test_an_unknown_segment_has_no_path(proposed, tree) -> None:
    logits = torch.tensor([[[1.0, 5.0, 2.0, 0.0], [0.0, 4.0, 2.0, 3.99], [0.0, 0.0, 0.0, 9.0]]])
    answer = named(proposed, logits=logits, words=tree, unknown=UnknownRule())
    assert [(s.name, bool(s.path)) for s in answer.segments] == [("cat", True), ("unknown", False), ("sky", True)]


def test_boxes_of_scattered_segments() -> None:
    ids = torch.tensor([[0, 1, 0, 0], [0, 0, 2, 0], [1, 0, 2, 2]])
    assert boxes_of(ids, 2) == [(0, 0, 2, 3), (2, 1, 2, 2)]
    assert boxes_of(torch.zeros(2, 2, dtype=torch.int64), 0) == []


@pytest.mark.parametrize(("key", "value"), [("margin", float("nan")), ("margin", 2), ("iou", -0.1), ("iou", None)])
def test_a_rule_out_of_range(key: str, value: object) -> None:
    with pytest.raises(InputError, match=rf"UnknownRule's {key} must .* 0\.\.1, got {value}"):
        UnknownRule(**{key: value})
