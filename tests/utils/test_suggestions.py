"""What a mistyped word was meant to be."""

from __future__ import annotations

import pytest

from opsnet.utils.suggestions import closest, closest_keys, did_you_mean

KEYS = ["filtering", "filtering.kind", "filtering.threshold", "optim.optimizer.lr", "seed", "data.module.seed", "lr"]


@pytest.mark.parametrize(
    ("word", "known", "expected"),
    [
        ("cocoo", ["coco", "ade20k"], ["coco"]),
        ("COCO", ["coco"], ["coco"]),
        ("ful", ["full", "fusion_only"], ["full"]),
        ("elephant", ["coco", "ade20k"], []),
        ("ab", [], []),
    ],
)
def test_closest_words(word: str, known: list[str], expected: list[str]) -> None:
    assert closest(word, known) == expected


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("threshold", ["filtering.threshold"]),  # right except for its group
        ("filtering.treshold", ["filtering.threshold"]),
        ("treshold", ["filtering.threshold"]),
        ("seeed", ["seed"]),
        ("optim.lr", ["lr", "optim.optimizer.lr"]),  # short ones first
        ("no_such_key", []),
    ],
)
def test_closest_keys(key: str, expected: list[str]) -> None:
    assert closest_keys(key, KEYS) == expected


def test_the_end_of_a_message() -> None:
    assert did_you_mean([]) == ""
    assert did_you_mean(["a"]) == ": did you mean a?"
    assert did_you_mean(["a", "b"]) == ": did you mean a or b?"
