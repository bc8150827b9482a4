"""Semantic maps from proposals with names, scores and boxes, worked out by hand."""

from __future__ import annotations

import pytest
import torch

from opsnet.prediction.naming import UnknownRule
from opsnet.prediction.semantic_naming import is_from_proposals, label_pixels
from opsnet.prediction.task_maps import for_task
from opsnet.utils.errors import InputError
from opsnet.vocabulary import Concept, Vocabulary
from opsnet.vocabulary.name_tree import NameTree

VOCABULARY = Vocabulary("v", (Concept(7, "cat", True, ("kitty",)), Concept(3, "sky", False), Concept(9, "dog", True)))
# Two cats side by side, and a third mask that is rather no-object than a dog.
PROBABILITIES = torch.tensor([[[0.6, 0.1, 0.2], [0.5, 0.2, 0.1], [0.01, 0.0, 0.19]]])
NO_OBJECT = torch.tensor([[0.1, 0.2, 0.8]])


def labelled(proposed, **more):
    return label_pixels(proposed(0.9, 0.8, 0.7), PROBABILITIES.log(), NO_OBJECT.log(), VOCABULARY, **more)[0]


def test_one_segment_per_class_and_no_void(proposed) -> None:
    """Mask Filtering would drop the third mask, whose pixels would be void."""
    found = labelled(proposed, top_k=2)
    cat, dog = found.segments
    assert (cat.id, cat.label, cat.name, cat.is_thing, cat.box, cat.area) == (
        1,
        0,
        "cat",
        True,
        (0, 0, 48, 64),
        48 * 64,
    )
    assert (dog.id, dog.label, dog.name, dog.box, dog.area) == (2, 2, "dog", (48, 0, 16, 64), 16 * 64)
    assert found.ids.unique().tolist() == [1, 2]
    assert found.vocabulary is VOCABULARY


def test_scores_are_shares_of_all_names(proposed) -> None:
    cat, dog = labelled(proposed, top_k=2).segments
    # The first mask has 32 columns and the second 16; each is nearly 1 inside and 0 outside.
    total = {"cat": 32 * 0.6 + 16 * 0.5, "sky": 32 * 0.1 + 16 * 0.2, "dog": 32 * 0.2 + 16 * 0.1}
    assert cat.score == pytest.approx(total["cat"] / sum(total.values()), abs=0.01)
    assert [name.name for name in cat.top] == ["cat", "dog"]
    assert cat.top[1].score == pytest.approx(total["dog"] / sum(total.values()), abs=0.01)
    assert (cat.top[0].id, cat.top[0].synonyms, cat.top[0].score) == (7, ("kitty",), cat.score)
    assert (cat.proposal, cat.iou) == (0, pytest.approx(0.9))
    assert dog.score == pytest.approx(0.95, abs=0.01)
    assert (dog.proposal, dog.iou) == (2, pytest.approx(0.7))


def test_more_names_than_there_are(proposed) -> None:
    assert [n.name for n in labelled(proposed, top_k=9).segments[0].top] == ["cat", "dog", "sky"]


def test_probabilities_that_vanish_are_no_error(proposed) -> None:
    logits, no_object = torch.full((1, 3, 3), -200.0), torch.zeros(1, 3)
    (found,) = label_pixels(proposed(1, 1, 1), logits, no_object, VOCABULARY)
    assert [(s.name, s.score) for s in found.segments] == [("cat", 0.0)]


def test_the_task_semantic_changes_nothing_more(proposed) -> None:
    found = labelled(proposed, top_k=2)
    again = for_task(found, "semantic")
    assert torch.equal(again.ids, found.ids)
    assert again.segments == found.segments


def test_which_maps_are_made_from_proposals() -> None:
    def ask(task: str, semantic: str | None = None, default: str = "panoptic", words=VOCABULARY, unknown=None) -> bool:
        return is_from_proposals(task, semantic, default, words, unknown)

    assert not ask("panoptic", default="proposals")
    assert not ask("semantic")
    assert ask("semantic", default="proposals") and ask("semantic", "proposals")
    assert not ask("semantic", "panoptic", default="proposals")
    tree = NameTree(VOCABULARY, (-1, -1, -1))
    assert not ask("semantic", words=tree, unknown=UnknownRule())
    for more in ({"words": tree}, {"unknown": UnknownRule()}):
        with pytest.raises(InputError, match="no unknown segments and no tree of names: give semantic=panoptic"):
            ask("semantic", "proposals", **more)
    with pytest.raises(InputError, match="semantic=proposals is for task=semantic, got task=instance"):
        ask("instance", "proposals")
    with pytest.raises(InputError, match="semantic must be panoptic or proposals, got masks"):
        ask("semantic", "masks")
    with pytest.raises(InputError, match="task must be one of"):
        ask("depth")
