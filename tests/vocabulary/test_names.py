"""Names as people write them."""

from __future__ import annotations

import pytest

from opsnet.vocabulary.names import (
    VocabularyError,
    folded,
    question_single_name,
    split_concepts,
    split_names,
    without_repeats,
)


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


PACKAGED = ("coco", "ade20k", "imagenet1k")


@pytest.mark.parametrize(
    ("text", "concepts"),
    [
        ("cat, dog", ["cat", "dog"]),
        ("cat; red  car\nsky,", ["cat", "red car", "sky"]),
        ("building, edifice; sky", ["building", "edifice", "sky"]),  # as on the page: a text lists classes
        ('["building, edifice", "sky"]', ["building, edifice", "sky"]),  # an entry of a list is a class
        ("[cat, red car]", ["cat", "red car"]),
        ("[1].png, sky", ["[1].png", "sky"]),
    ],
)
def test_a_typed_list_of_classes(text: str, concepts: list[str]) -> None:
    assert split_concepts(text) == concepts


@pytest.mark.parametrize("text", ['["a", 1]', '["a", ""]', '[["a"]]', "[null]"])
def test_entries_of_a_list_are_texts(text: str) -> None:
    with pytest.raises(VocabularyError, match="each must be a text with a name"):
        split_concepts(text)


@pytest.mark.parametrize(
    "text", ["car", "tv/monitor", "cocoo,", "St. Bernard", "no.5", "red car", "cat", "mr.right now"]
)
def test_single_class_names_are_not_questioned(text: str) -> None:
    question_single_name(text, PACKAGED)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "cocoo",
            r"did you mean coco\? To use it as the single class name, put a comma behind it: vocabulary='cocoo,'",
        ),
        ("COCO", r"did you mean coco\?"),
        ("ade20", r"did you mean ade20k\?"),
        ("words.tx", r"check the path\."),
        ("lists/words.jsn", r"check the path\."),
        ("names.csv", r"check the path\."),
        ("/lists/words", r"check the path\."),
        ("./words", r"check the path\."),
    ],
)
def test_a_word_that_looks_like_a_vocabulary_or_a_file_is_questioned(text: str, message: str) -> None:
    with pytest.raises(VocabularyError, match=f"'{text}' is neither a packaged vocabulary nor a .*{message}"):
        question_single_name(text, PACKAGED)


def test_a_word_that_is_a_folder_here_is_questioned(tmp_path, monkeypatch) -> None:
    (tmp_path / "lists").mkdir()
    monkeypatch.chdir(tmp_path)
    for text in ("lists", "lists/words"):
        with pytest.raises(VocabularyError, match="check the path"):
            question_single_name(text, PACKAGED)


def test_a_name_that_is_too_long_for_a_file_is_a_name() -> None:
    question_single_name("a long caption of an image with many words " * 20, ["coco"])
    question_single_name("x/" + "y" * 300, ["coco"])
