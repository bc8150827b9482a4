"""Subtrees of WordNet, on one of five synsets in WordNet's own format; and the script that installs it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import nltk
import pytest
from script_loading import load_script

from opsnet.vocabulary import Vocabulary
from opsnet.wordnet import WordNetError, subtree, tree

# name of the first lemma -> all lemmas, synsets below it, individuals below it
SYNSETS = {
    "animal": (["animal", "creature"], ["cat", "dog"], []),
    "cat": (["cat", "true_cat"], ["siamese"], []),
    "dog": (["dog"], [], ["rex"]),
    "siamese": (["siamese", "Cat"], [], []),
    "rex": (["rex"], [], []),
}


def tiny_wordnet(folder: Path) -> dict[str, int]:
    """Writes the files that nltk reads; answers each synset's offset, the byte where its line begins."""
    folder.mkdir(parents=True)
    lines, offsets = [], dict.fromkeys(SYNSETS, 0)
    for _ in range(2):  # lines have the same lengths the second time, with the right offsets in them
        lines, position = [], 0
        for name, (lemmas, below, individuals) in SYNSETS.items():
            words = " ".join(f"{lemma} 0" for lemma in lemmas)
            pointers = [
                f"{mark} {offsets[n]:08d} n 0000" for mark, ns in (("~", below), ("~i", individuals)) for n in ns
            ]
            ends = " ".join([f"{len(pointers):03d}", *pointers])
            line = f"{position:08d} 05 n {len(lemmas):02x} {words} {ends} | a gloss\n"
            offsets[name] = position
            position += len(line)
            lines.append(line)
    (folder / "data.noun").write_text("".join(lines))
    known = [(lemma.lower(), name) for name, (lemmas, _, _) in SYNSETS.items() for lemma in lemmas]
    index = []
    for lemma in sorted({lemma for lemma, _ in known}):
        found = [offsets[name] for other, name in known if other == lemma]
        index.append(f"{lemma} n {len(found)} 0 {len(found)} 0 {' '.join(f'{o:08d}' for o in found)}\n")
    (folder / "index.noun").write_text("".join(index))
    for name in ("data.verb", "data.adj", "data.adv", "index.verb", "index.adj", "index.adv", "index.sense"):
        (folder / name).write_text("")
    for name in ("noun.exc", "verb.exc", "adj.exc", "adv.exc", "cntlist.rev"):
        (folder / name).write_text("")
    return offsets


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """nltk looks into ``tmp_path`` alone, and reads anew."""
    from nltk.corpus.reader import WordNetCorpusReader
    from nltk.corpus.util import LazyCorpusLoader

    monkeypatch.setattr(nltk.data, "path", [str(tmp_path / "nltk_data")])
    loader = LazyCorpusLoader("wordnet", WordNetCorpusReader, None)
    monkeypatch.setattr("nltk.corpus.wordnet", loader)
    yield


@pytest.fixture
def offsets(tmp_path: Path, reader: None) -> dict[str, int]:
    source = tmp_path / "source"
    offsets = tiny_wordnet(source)
    load_script("prepare_wordnet").main([str(tmp_path / "nltk_data"), "--source", str(source)])
    return offsets


def test_a_subtree_has_all_below_and_no_individuals(offsets: dict[str, int]) -> None:
    found = dict(subtree("animal.n.01"))
    assert found == {
        offsets["animal"]: ["animal", "creature"],
        offsets["cat"]: ["cat", "true cat"],
        offsets["dog"]: ["dog"],
        offsets["siamese"]: ["siamese", "Cat"],
    }
    assert subtree("animal.n.01")[0][0] == offsets["animal"]


def test_it_is_a_vocabulary_keyed_by_offset(offsets: dict[str, int]) -> None:
    vocabulary = Vocabulary.load("wordnet:cat.n.01")
    assert vocabulary.ids == (offsets["cat"], offsets["siamese"])
    assert vocabulary.names == ("cat", "siamese")
    assert vocabulary.concepts[1].synonyms == ("Cat",)  # a name of two concepts, as in WordNet


@pytest.mark.parametrize("name", ["animal", "unicorn.n.01", "animal.n.09", ""])
def test_an_unknown_synset_is_named_with_an_example(name: str, offsets: dict[str, int]) -> None:
    with pytest.raises(WordNetError, match=f"WordNet has no synset '{name}': write one like wordnet:animal.n.01"):
        Vocabulary.load(f"wordnet:{name}")


def test_where_wordnet_is_missing_the_way_to_get_it_is_said(reader: None) -> None:
    with pytest.raises(WordNetError, match="run python -m nltk.downloader wordnet .*prepare_wordnet.py"):
        Vocabulary.load("wordnet:animal.n.01")


def test_the_file_that_debian_leaves_out(tmp_path: Path, offsets: dict[str, int], capsys) -> None:
    lines = (tmp_path / "nltk_data" / "corpora" / "wordnet" / "lexnames").read_text().splitlines()
    assert len(lines) == 45
    assert lines[5] == "05\tnoun.animal\t1"
    assert lines[44] == "44\tadj.ppl\t3"
    load_script("prepare_wordnet").main([str(tmp_path / "nltk_data")])
    assert "is there already" in capsys.readouterr().out


def test_a_folder_that_is_not_wordnet_is_refused(tmp_path: Path, capsys) -> None:
    with pytest.raises(SystemExit) as end:
        load_script("prepare_wordnet").main([str(tmp_path / "new"), "--source", str(tmp_path)])
    assert end.value.code == 2
    assert "does not hold data.noun and index.sense" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_a_synset_stands_below_its_most_specific_hypernym(reader: None, tmp_path: Path, monkeypatch) -> None:
    synsets = {
        "animal": (["animal"], ["pet", "mammal"], []),
        "pet": (["pet"], ["cat"], []),
        "mammal": (["mammal"], ["feline"], []),
        "feline": (["feline"], ["cat"], []),
        "cat": (["cat"], [], []),
    }
    monkeypatch.setitem(globals(), "SYNSETS", synsets)
    tiny_wordnet(tmp_path / "source")
    load_script("prepare_wordnet").main([str(tmp_path / "nltk_data"), "--source", str(tmp_path / "source")])
    rows = tree("animal.n.01")
    above = {lemmas[0]: rows[parent][1][0] if parent >= 0 else None for _, lemmas, parent in rows}
    assert above == {"animal": None, "pet": "animal", "mammal": "animal", "feline": "mammal", "cat": "feline"}
    assert all(parent < index for index, (_, _, parent) in enumerate(rows))
