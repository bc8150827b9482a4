"""Trees of names from YAML and from a small WordNet, and what is said about a bad one."""

from __future__ import annotations

from pathlib import Path

import pytest

from opsnet.vocabulary.name_tree import NameTree, is_tree
from opsnet.vocabulary.vocabulary import VocabularyError

TREE = """
thing:
  animal:
    cat, house cat: [siamese cat, tabby]
    dog:
stuff: [sky, "water, sea"]
"""


def tree(folder: Path, text: str) -> NameTree:
    path = folder / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return NameTree.load(path)


def test_nodes_parents_and_synonyms(tmp_path: Path) -> None:
    found = tree(tmp_path, TREE)
    names = ("thing", "animal", "cat", "siamese cat", "tabby", "dog", "stuff", "sky", "water")
    assert found.vocabulary.names == names
    assert found.parent == (-1, 0, 1, 2, 2, 1, -1, 6, 6)
    assert found.vocabulary.concepts[2].synonyms == ("house cat",)
    assert found.vocabulary.concepts[8].synonyms == ("sea",)
    assert found.vocabulary.ids == tuple(range(1, 10))
    assert found.vocabulary.name == "mine"


def test_the_kinds_say_what_is_below_them_and_have_no_text(tmp_path: Path) -> None:
    found = tree(tmp_path, TREE)
    assert found.vocabulary.is_thing == (True,) * 6 + (False,) * 3
    assert found.words == (1, 2, 3, 4, 5, 7, 8)
    assert found.word_vocabulary.names == ("animal", "cat", "siamese cat", "tabby", "dog", "sky", "water")


def test_without_kinds_names_are_what_the_known_vocabularies_say(tmp_path: Path) -> None:
    found = tree(tmp_path, "outdoors: [grass, person]\n")
    assert found.vocabulary.is_thing == (True, False, True)
    assert found.words == (0, 1, 2)


def test_a_name_may_stand_in_two_places(tmp_path: Path) -> None:
    found = tree(tmp_path, "thing: {bird: [crane], machine: [crane]}\n")
    assert found.vocabulary.names.count("crane") == 2
    assert len(set(found.vocabulary.ids)) == 5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("thing: {cat: [tabby, Tabby]}", "has 'thing > cat > Tabby' twice"),
        ("thing: {cat: , cat: }", "has 'cat' twice in one place"),
        ("thing: {cat: [1]}", "has 1 at 'thing > cat', which is not a name: .* quote numbers"),
        ("3", "has 3 at 'top', which is not a name"),
        ("thing: [cat, ', ,']", "has an empty name at 'thing'"),
        ("thing:\nstuff: [sky]", "has no name below 'thing'"),
        ("", "is empty"),
        ("thing: [cat", "mine.yaml is not valid YAML"),
    ],
)
def test_bad_trees(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(VocabularyError, match=message):
        tree(tmp_path, text)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(VocabularyError, match=r"tree file .*no\.yaml does not exist"):
        NameTree.load(tmp_path / "no.yaml")


ROWS = {
    "animal.n.01": [(10, ["animal"], -1), (20, ["cat", "true cat"], 0), (30, ["dog"], 0), (40, ["Siamese"], 1)],
    "pet.n.01": [(50, ["pet"], -1), (20, ["cat", "true cat"], 0), (60, ["hamster"], 0)],
}


@pytest.fixture
def small_wordnet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("opsnet.vocabulary.wordnet.tree", ROWS.__getitem__)


def test_a_subtree_of_wordnet_is_keyed_by_offset(small_wordnet: None) -> None:
    found = NameTree.load("wordnet:animal.n.01")
    assert found.vocabulary.names == ("thing", "animal", "cat", "dog", "Siamese")
    assert found.vocabulary.ids[1:] == (10, 20, 30, 40)
    assert found.parent == (-1, 0, 1, 1, 2)
    assert found.vocabulary.concepts[2].synonyms == ("true cat",)


def test_subtrees_inside_a_file_and_a_synset_of_both_once(small_wordnet: None, tmp_path: Path) -> None:
    found = tree(tmp_path, "thing:\n  wordnet:animal.n.01:\n  wordnet:pet.n.01:\nstuff: [sky]\n")
    assert found.vocabulary.names == ("thing", "animal", "cat", "dog", "Siamese", "pet", "hamster", "stuff", "sky")
    assert found.parent == (-1, 0, 1, 1, 2, 0, 5, -1, 7)
    with pytest.raises(VocabularyError, match=r"names below wordnet:pet\.n\.01, which has its own"):
        tree(tmp_path, "thing:\n  wordnet:pet.n.01: [cat]\n")


def test_what_is_a_tree() -> None:
    assert is_tree("a/mine.yaml") and is_tree(Path("mine.yml")) and is_tree(" wordnet:cat.n.01")
    assert not any(map(is_tree, ("coco", "cat, dog", "words.txt", ["a.yaml"], None)))
