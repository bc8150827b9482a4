"""Text files of names, with and without ids."""

from __future__ import annotations

from pathlib import Path

import pytest

from opsnet.vocabulary.names import VocabularyError
from opsnet.vocabulary.text_list import Row, ids_of_classes, read_rows


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "list.txt"


def test_a_published_list(path: Path) -> None:
    path.write_text("0:invalid_class_id\n\n# two\n1:Cat,cats, kitty ,cats\n3 : tv\n7:cat\n12:invalid_class_id")
    assert read_rows(path) == [Row(4, 1, ("Cat", "cats", "kitty")), Row(5, 3, ("tv",)), Row(6, 7, ("cat",))]


def test_a_list_of_names(path: Path) -> None:
    path.write_text("cat, kitten\ninvalid_class_id\nthe 3: a number\nclass:name\n")
    assert [(row.id, row.names) for row in read_rows(path)] == [
        (None, ("cat", "kitten")),
        (None, ("invalid_class_id",)),
        (None, ("the 3: a number",)),
        (None, ("class:name",)),
    ]


@pytest.mark.parametrize("content", ["", "\n# nothing\n", "0:invalid_class_id\n1:invalid_class_id\n"])
def test_a_list_of_nothing(path: Path, content: str) -> None:
    path.write_text(content)
    assert read_rows(path) == []


MIXED = "line {} of vocabulary file {} ('{}') has no id, but line {} has {}: write 'id:name,synonym' on every line or "
BROKEN = {
    "the second has none": ("3:cat\ngrass\n", MIXED.format(2, "FILE", "grass", 1, 3)),
    "the last has one": ("cat\n\ngrass\n4:sky\n", MIXED.format(1, "FILE", "cat", 4, 4)),
    "an id that is no number": ("3:cat\nx:dog\n", MIXED.format(2, "FILE", "x:dog", 1, 3)),
    "a negative id": ("0:cat\n-1:dog\n", MIXED.format(2, "FILE", "-1:dog", 1, 0)),
    "no colon": ("3:cat\n4 dog\n", MIXED.format(2, "FILE", "4 dog", 1, 3)),
    "mixed with ids that are not used": ("0:invalid_class_id\ncat\n", MIXED.format(2, "FILE", "cat", 1, 0)),
    "no name": ("3:cat\n4: ,\n", "line 2 of vocabulary file FILE has no name: write one there or remove it"),
    "two on one line": ("3:cat\n4:dog5:sky\n", "line 2 of vocabulary file FILE has a second ':': put each "),
    "the same id": ("3:cat\n4:sky\n3:dog\n", "has the id '3' twice, on lines 1 and 3 of FILE: remove one of them"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_list_is_refused_with_its_line(path: Path, case: str) -> None:
    content, message = BROKEN[case]
    path.write_text(content)
    with pytest.raises(VocabularyError) as error:
        read_rows(path)
    assert message.replace("FILE", str(path)) in str(error.value)


CLASSES = {7: ("road", "street"), 8: ("wall",), 11: ("sky",)}


def test_the_classes_of_a_dataset_are_found_by_id_or_position() -> None:
    by_id = {11: ("Sky",), 7: ("street",), 8: ("walls", "wall")}
    assert ids_of_classes(by_id, CLASSES) == [7, 8, 11]
    assert ids_of_classes({0: ("background",), **by_id}, CLASSES) == [7, 8, 11]
    assert ids_of_classes({0: ("road",), 1: ("wall",), 2: ("sky",)}, CLASSES) == [0, 1, 2]
    assert ids_of_classes({1: ("road",), 2: ("wall",), 3: ("sky",)}, CLASSES) is None


@pytest.mark.parametrize(("renamed", "found"), [(1, True), (2, False)])
def test_nine_in_ten_classes_share_a_name(renamed: int, found: bool) -> None:
    classes = {i: (f"class {i}",) for i in range(10)}
    keyed = {i: ("other",) if i < renamed else names for i, names in classes.items()}
    assert ids_of_classes(keyed, classes) == (list(range(10)) if found else None)
