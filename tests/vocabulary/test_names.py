"""Names as people write them."""

from __future__ import annotations

import pytest

from opsnet.vocabulary.names import folded, split_concepts, split_names, without_repeats


@pytest.mark.parametrize(
    ("text", "names"), [("cat", ["cat"]), (" cat ,big   dog,, ", ["cat", "big dog"]), ("", []), (" , ", [])]
)
def test_names_are_split_at_commas(text: str, names: list[str]) -> None:
    assert split_names(text) == names


def test_typed_names_are_split_at_semicolons_and_line_breaks_too() -> None:
    assert split_concepts(" sea,  red   circle\r\nlake; tree,,\n") == ["sea", "red circle", "lake", "tree"]


def test_the_first_of_repeated_names_stays() -> None:
    assert without_repeats(["Sea", "ocean", "sea", "OCEAN", "lake"]) == ("Sea", "ocean", "lake")


def test_upper_and_lower_case_do_not_count() -> None:
    assert folded(["Sea", "SEA", "Straße"]) == {"sea", "strasse"}
